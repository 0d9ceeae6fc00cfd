"""Models saved by Hugging Face diffusers, run by JAX through torchax.

A folder becomes a `Flow` with its weights as arguments, so everything in this library applies to
it: guidance, exact traces, log-densities. Only safetensors are read, nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from densityguide.checks import concrete, require, scalar
from densityguide.data.transforms import Dequantise
from densityguide.flow.build import diffusion
from densityguide.flow.classifier_free import classifier_free
from densityguide.flow.flow import Flow
from densityguide.models import diffusers_text as text
from densityguide.models.diffusers_condition import (
    KINDS,
    channels_of,
    classes_of,
    condition_of,
    size_of,
)
from densityguide.models.diffusers_decoder import image_decoder
from densityguide.models.diffusers_folder import DECODERS, components, read_json
from densityguide.models.diffusers_load import engine
from densityguide.models.diffusers_network import PACKED, Call, function_of
from densityguide.models.diffusers_schedule import schedule_of

__all__ = ["SCALE", "from_diffusers", "image_decoder"]

LEVELS = 256
SCALE = 5.0  # of classifier-free guidance, where there is a prompt


def from_diffusers(
    folder: str | os.PathLike[str],
    *,
    prompt: str | None = None,
    negative: str = "",
    scale: ArrayLike | None = None,
    condition: Any = None,
    log_snr: tuple[ArrayLike, ArrayLike] | None = None,
    shape: tuple[int, int] | None = None,
) -> Flow:
    """A pipeline or model folder saved by diffusers as a `Flow`.

    UNets of pixels and latents, DiT, and with a prompt Stable Diffusion 1, 2, XL and 3, Flux and
    PixArt; betas and prediction type are those of the scheduler's config (schedulers with betas:
    variance preserving; flow matching: linear). Samples are [H, W, C]; those of a latent model are
    latents, see `image_decoder`. Pixel models come with the transform of 8-bit images on [-1, 1].

    A prompt is encoded once, by the folder's own tokenizers and text encoders in float32, and the
    flow is that of classifier-free guidance, ``u_neg + scale (u_prompt - u_neg)``, see
    `densityguide.classifier_free`: log p is that of the mixed flow. A network distilled from such a
    mixture (Flux with a guidance embedding) is told the scale instead.

    Weights are read as float32, which holds those of a half-precision file exactly.

    Args:
        folder: with ``model_index.json``, or of one model with ``scheduler/`` inside or beside it.
        prompt: what the picture shows; needs the whole pipeline's folder.
        negative: what it does not show; empty is the pipeline's own idea of no prompt (for
            Stable Diffusion XL zeros, where its ``model_index.json`` says so).
        scale: of classifier-free guidance, 5 by default. At 1 the negative prompt is not
            evaluated; traced.
        condition: instead of a prompt, for ONE sample: the class, the text embedding
            [tokens, width], or a dict of the network's keyword arguments. Change it later with
            ``flow.given``.
        log_snr: range; by default the scheduler's whole one, and (-10, 10) for flow matching.
        shape: (H, W) of the samples, where the config names no size or another one is wanted.

    Raises:
        FileNotFoundError: no such folder, or a component's file is missing.
        ValueError: pickled weights, damaged or half-downloaded files, an unknown network, pipeline
            or scheduler, a missing condition, a prompt for a model without a text encoder, a scale
            or a negative prompt without a prompt; and if the extra ``diffusers`` is not installed.
    """
    engine()
    _check(prompt, negative, scale, condition)
    parts = components(Path(folder))
    config = read_json(parts["network"] / "config.json")
    kind: Any = config.get("_class_name")
    require(
        kind in KINDS,
        f"unknown network {kind!r} in {parts['network']}: expected one of {', '.join(KINDS)}",
    )
    schedule = schedule_of(
        read_json(parts["scheduler"] / "scheduler_config.json"), parts["scheduler"]
    )
    size = size_of(kind, config, shape, parts["network"])
    channels = channels_of(kind, config, parts["network"])
    other = None
    if prompt is not None:
        told = text.read(Path(folder), prompt, negative, size)
        condition, other = _scaled(config, told, negative, SCALE if scale is None else scale)
    condition = condition_of(kind, config, condition)
    function, params = function_of(parts["network"], kind)
    home = parts["network"].parent
    latent = channels not in (1, 3) or any((home / name).is_dir() for name in DECODERS)
    steps = schedule.steps if KINDS[kind].steps else 1.0
    flow = diffusion(
        Call(function, KINDS[kind].input, steps, channels, kind == PACKED),
        params=params,
        path=schedule.path,
        prediction=schedule.prediction,
        clock=schedule.clock,
        log_snr=schedule.log_snr if log_snr is None else log_snr,
        shape=(*size, channels),
        condition=condition,
        classes=classes_of(config, condition),
        batched=True,
        channels_first=True,
        transform=None if latent else Dequantise(LEVELS),
    )
    if other is None:
        return flow
    return classifier_free(flow, SCALE if scale is None else scale, negative=other)


def _check(prompt: Any, negative: Any, scale: Any, condition: Any) -> None:
    """ValueError for options that do not belong together."""
    require(
        prompt is None or condition is None,
        "a prompt becomes the condition: give one of the two, prompt or condition",
    )
    require(
        prompt is not None or (scale is None and not negative),
        "a scale and a negative prompt belong to a prompt: give one; with a condition of your own "
        "see densityguide.classifier_free",
    )


def _scaled(config: dict[str, Any], told: text.Told, negative: str, scale: ArrayLike) -> Any:
    """(condition, the negative one or None), by how the network is guided."""
    number = scalar(scale, "scale")
    known = concrete(number)
    require(known is None or bool(np.isfinite(known)), f"scale must be finite, got {scale}")
    if config.get("guidance_embeds"):
        require(
            not negative,
            f"{config['_class_name']} is told its scale, and takes no negative prompt: drop it",
        )
        return told.prompt | {"guidance": jnp.asarray(number, jnp.float32)}, None
    return told.prompt, None if known is not None and float(known) == 1.0 else told.negative
