"""From latents to pictures, by the autoencoder of a folder saved by diffusers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import require
from densityguide.models import card as cards
from densityguide.models.diffusers_folder import components, read_json
from densityguide.models.diffusers_load import engine, network

__all__ = ["image_decoder"]

WORKS_ON = "AutoencoderKL"


class _Units(NamedTuple):
    """A network's latents times `scale` plus `shift` are the autoencoder's, whose pictures lie
    between `low` and `high`."""

    scale: Any
    shift: Any
    low: float = -1.0
    high: float = 1.0


def image_decoder(folder: str | os.PathLike[str]) -> Callable[[Array], np.ndarray] | None:
    """Latents [N, H, W, C] -> uint8 images [N, H', W', 3] by the pipeline's ``AutoencoderKL``, or
    by the one in ``vae`` of a model folder whose card tells the latents' units; None if there is
    none. One after the other, so that memory does not grow with N. Raises as `from_diffusers`."""
    tools, folder = engine(), Path(folder)
    latents = _of_card(folder / "card.json")
    part = components(folder).get("vae") if latents is None else _beside(folder)
    if part is None:
        return None
    config = read_json(part / "config.json")
    kind = config.get("_class_name")
    require(kind == WORKS_ON, f"unknown decoder {kind!r} in {part}: expected {WORKS_ON}")
    units = latents or _units(config)
    vae = network(WORKS_ON, part)

    module: Any = tools.torch.nn.Module

    class Decode(module):  # type: ignore[misc]  # a base that mypy need not have installed
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, latents: Any) -> Any:
            return self.vae.decode(latents, return_dict=False)[0]

    params, function = tools.torchax.extract_jax(Decode().eval())

    @jax.jit
    def run(params: Any, latents: Array) -> Array:
        inputs = jnp.moveaxis(latents * units.scale + units.shift, -1, 1)
        images = jnp.moveaxis(function(params, (inputs,)), 1, -1)
        shades = 255.0 / (units.high - units.low) * (images - units.low)
        return jnp.clip(jnp.round(shades), 0, 255)

    def decode(latents: Array) -> np.ndarray:
        pictures = [np.asarray(run(params, one[None])) for one in jnp.asarray(latents)]
        return np.concatenate(pictures).astype(np.uint8)

    return decode


def _units(config: dict[str, Any]) -> _Units:
    """Those of the pipeline that the autoencoder belongs to."""
    scale = np.float32(1.0 / (config.get("scaling_factor") or 1.0))
    if config.get("latents_mean") and config.get("latents_std"):
        spread = np.asarray(config["latents_std"], np.float32)
        return _Units(scale * spread, np.asarray(config["latents_mean"], np.float32))
    return _Units(scale, np.float32(config.get("shift_factor") or 0.0))


def _of_card(file: Path) -> _Units | None:
    """Those of a model card, or None without a card."""
    if not file.is_file():
        return None
    card = cards.read(file)
    told: Any = card.transform.get("latents")
    try:
        scale, mean = (np.asarray(told[name], np.float32) for name in ("scale", "mean"))
        low, high = (float(end) for end in told["pixels"])
        fine = scale.shape == mean.shape == card.shape[-1:] and low < high
        fine = fine and bool(np.isfinite([*scale, *mean, low, high]).all())
    except (KeyError, TypeError, ValueError):
        fine = False
    require(
        fine,
        f"expected transform.latents in {file} with mean and scale for each channel and the range "
        f"of pixels, got {told!r:.80}: save the model again",
    )
    return _Units(scale, mean, low, high)


def _beside(folder: Path) -> Path | None:
    return folder / "vae" if (folder / "vae").is_dir() else None
