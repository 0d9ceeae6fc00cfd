"""Published EDM2 networks as flows, and as model folders that every command takes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from densityguide.checks import verb
from densityguide.disk import atomic
from densityguide.flow.flow import Flow
from densityguide.models import card as cards
from densityguide.models import edm2_weights, weights
from densityguide.models.build import build, size
from densityguide.models.edm2_weights import Converted
from densityguide.models.load import flow_of

__all__ = ["LATENTS", "LOG_SNR", "from_edm2", "save_edm2"]

# The published range of sigma, 80 to 0.002.
LOG_SNR = (-2.0 * math.log(80.0), -2.0 * math.log(0.002))
# Latents of the network times `scale` plus `mean` are those of Stable Diffusion's autoencoder: the
# published spreads 4.17, 4.62, 3.71, 3.28 were brought to 0.5. It works on pictures in [0, 1].
LATENTS = {
    "mean": [5.81, 3.25, 0.12, -2.15],
    "scale": [8.34, 9.24, 7.42, 6.56],
    "pixels": [0.0, 1.0],
}
Arrays = Mapping[str, Any] | str | os.PathLike[str]


@verb
def from_edm2(arrays: Arrays, *, head: int = 64) -> Flow:
    """A published EDM2 network (Karras et al., CVPR 2024) as a `Flow`: variance exploding, sigma
    from 80 to 0.002, EDM's preconditioning inside. **Untried on a published checkpoint.**

    Samples are [H, W, C]: of the networks for ImageNet-512 [64, 64, 4], latents of Stable
    Diffusion's autoencoder, standardised by fixed numbers; of those for ImageNet-64 pictures. Log p
    is that of the latents. The flow starts without a class, -1, which a network with classes was
    not trained for: tell it one by ``flow.given(207)``. The size is read off the arrays.

    Args:
        arrays: of the state dict of the checkpoint's ``ema``, by name; or a safetensors file of
            them.
        head: channels a head of attention has.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle, a damaged file, or arrays that are missing, too many or of another
            shape, in one line that names one.
    """
    found = _converted(arrays, head)
    card = _card(found, "edm2", "float32", "0" * 64)
    return flow_of(build("edm2", found.fields), found.params, card)


@verb
def save_edm2(arrays: Arrays, folder: str | os.PathLike[str], *, head: int = 64) -> cards.Card:
    """Write a published EDM2 network as a model folder, for `load` and ``--model``; returns its
    card. **Untried on a published checkpoint.**

    Weights are stored as float16 where that loses nothing, as it does not of the published files.
    For pictures, put the folder of the autoencoder (stabilityai/sd-vae-ft-mse, as diffusers saves
    it) into the folder as ``vae``: see `image_decoder`. Arguments and errors as of `from_edm2`.
    """
    found, out = _converted(arrays, head), Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    storage = "float16" if _is_half(found.params) else "float32"
    # The card vouches for the weights, so it is written last.
    with atomic.place(out, "weights.safetensors", "card.json") as place:
        digest = weights.write(place / "weights.safetensors", found.params, storage)
        card = _card(found, out.resolve().name, storage, digest)
        cards.write(place / "card.json", card)
    return card


def _converted(arrays: Arrays, head: int) -> Converted:
    by_name = arrays if isinstance(arrays, Mapping) else edm2_weights.read(arrays)
    return edm2_weights.convert(by_name, head=head)


def _is_half(params: Any) -> bool:
    """Whether float16 holds every number exactly."""
    with np.errstate(over="ignore"):
        return all(
            np.array_equal(np.asarray(leaf).astype(np.float16), leaf)
            for leaf in jax.tree.leaves(params)
        )


def _card(found: Converted, name: str, storage: str, digest: str) -> cards.Card:
    pixels = found.shape[-1] in (1, 3)
    told = f"of {found.fields['classes']} classes" if found.fields["classes"] else "unconditional"
    return cards.Card(
        name=name,
        description=f"EDM2, {told}, converted from published arrays.",
        network={"kind": "edm2", "fields": found.fields},
        parameters=size(found.params),
        shape=found.shape,
        path="variance_exploding",
        prediction="data",
        log_snr=LOG_SNR,
        transform={"levels": 256} if pixels else {"levels": 0, "latents": LATENTS},
        data={},
        training={},
        storage=storage,
        sha256=digest,
    )
