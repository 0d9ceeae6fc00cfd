"""From latents to pictures, by the autoencoder of a folder saved by diffusers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import require
from densityguide.models.diffusers_folder import components, read_json
from densityguide.models.diffusers_load import engine, network

__all__ = ["image_decoder"]


def image_decoder(folder: str | os.PathLike[str]) -> Callable[[Array], np.ndarray] | None:
    """Latents [N, H, W, C] -> uint8 images [N, H', W', 3] by the pipeline's ``AutoencoderKL``;
    None if it has none. One after the other, so that memory does not grow with N. Raises as
    `from_diffusers`."""
    tools = engine()
    part = components(Path(folder)).get("vae")
    if part is None:
        return None
    config = read_json(part / "config.json")
    kind = config.get("_class_name")
    require(kind == "AutoencoderKL", f"unknown decoder {kind!r} in {part}: expected AutoencoderKL")
    vae = network("AutoencoderKL", part)

    module: Any = tools.torch.nn.Module

    class Decode(module):  # type: ignore[misc]  # a base that mypy need not have installed
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, latents: Any) -> Any:
            return self.vae.decode(latents, return_dict=False)[0]

    params, function = tools.torchax.extract_jax(Decode().eval())
    scale, shift = _units(config)

    @jax.jit
    def run(params: Any, latents: Array) -> Array:
        inputs = jnp.moveaxis(latents * scale + shift, -1, 1)
        images = jnp.moveaxis(function(params, (inputs,)), 1, -1)
        return jnp.clip(jnp.round(127.5 * (images + 1.0)), 0, 255)

    def decode(latents: Array) -> np.ndarray:
        pictures = [np.asarray(run(params, one[None])) for one in jnp.asarray(latents)]
        return np.concatenate(pictures).astype(np.uint8)

    return decode


def _units(config: dict[str, Any]) -> tuple[Any, Any]:
    """Scale and shift by which a network's latents become the autoencoder's."""
    scale = np.float32(1.0 / (config.get("scaling_factor") or 1.0))
    if config.get("latents_mean") and config.get("latents_std"):
        spread = np.asarray(config["latents_std"], np.float32)
        return scale * spread, np.asarray(config["latents_mean"], np.float32)
    return scale, np.float32(config.get("shift_factor") or 0.0)
