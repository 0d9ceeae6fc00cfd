"""The networks of Hugging Face diffusers as JAX functions of one sample's batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.models.diffusers_load import engine, network

__all__ = ["PACKED", "Call", "function_of"]

# Networks that take 2 x 2 latents as one token, and are told where it lies.
PACKED = "FluxTransformer2DModel"


@dataclass(frozen=True)
class Call:
    """The torch module as ``(params, x, t, condition)`` on a batch, channels first."""

    function: Callable[..., Any]
    name: str  # of its input
    factor: float  # the module's time per unit of the clock
    channels: int
    packed: bool = False

    def __call__(self, params: Any, x: Array, t: Array, condition: Any = None) -> Array:
        told = dict(condition or {})
        size = x.shape[2:]
        if self.packed:
            told |= _places(size, told["encoder_hidden_states"].shape[1])
            x = _pack(x)
        out = self.function(params, {self.name: x, "timestep": self.factor * t, **told})
        # Networks that learned a variance append it to their output.
        return _unpack(out, size) if self.packed else out[:, : self.channels]


def _pack(x: Array) -> Array:
    """[N, C, H, W] -> [N, H W / 4, 4 C]: each token is a patch of 2 x 2, its channels outermost."""
    number, channels, height, width = x.shape
    patches = x.reshape(number, channels, height // 2, 2, width // 2, 2)
    return patches.transpose(0, 2, 4, 1, 3, 5).reshape(number, -1, 4 * channels)


def _unpack(tokens: Array, size: tuple[int, ...]) -> Array:
    """The inverse of `_pack`."""
    height, width = size
    patches = tokens.reshape(len(tokens), height // 2, width // 2, -1, 2, 2)
    return patches.transpose(0, 3, 1, 4, 2, 5).reshape(len(tokens), -1, height, width)


def _places(size: tuple[int, ...], words: int) -> dict[str, Array]:
    """Rows and columns of the tokens; those of text lie at the origin."""
    rows, columns = jnp.meshgrid(*(jnp.arange(side // 2) for side in size), indexing="ij")
    places = jnp.stack([jnp.zeros_like(rows), rows, columns], axis=-1).reshape(-1, 3)
    return {"img_ids": places.astype(float), "txt_ids": jnp.zeros((words, 3))}


def function_of(folder: Path, kind: str) -> tuple[Callable[..., Any], Any]:
    """``(params, inputs) -> output`` and the weights."""
    module = network(kind, folder)
    params, function = engine().torchax.extract_jax(module)
    # One function for all weights of an architecture, so that other weights compile nothing.
    config = {name: value for name, value in module.config.items() if name[0] != "_"}
    return _shared(kind, json.dumps(config, sort_keys=True, default=str), function), params


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {}


def _shared(kind: str, config: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @jax.jit
    def run(params: Any, inputs: dict[str, Array]) -> Array:
        return function(params, (), {**inputs, "return_dict": False})[0]

    return _FUNCTIONS.setdefault((kind, config), run)
