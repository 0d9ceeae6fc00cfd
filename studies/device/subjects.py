"""The networks: shipped ones, and transformers of published sizes with random weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import densityguide as dg

__all__ = ["FULL", "SMALL", "Subject", "load"]


class Subject(NamedTuple):
    """A network by its name, and how many samples it takes at a time."""

    name: str
    batch: int


# Peebles and Xie (2023), table 1, on latents of 256-pixel pictures.
SIZES: dict[str, dict[str, Any]] = {
    "DiT-B/2": {"width": 768, "depth": 12, "heads": 12, "patch": 2, "embedding": 768},
    "DiT-XL/2": {"width": 1152, "depth": 28, "heads": 16, "patch": 2, "embedding": 1152},
    "DiT, tiny": {"width": 32, "depth": 2, "heads": 2, "patch": 4, "embedding": 32},
}
FULL = (
    *(Subject("emoji32", 256), Subject("tiles32", 256)),
    *(Subject("DiT-B/2", 64), Subject("DiT-XL/2", 16)),
)
SMALL = (Subject("DiT, tiny", 2),)


def load(name: str) -> dg.Flow:
    """A shipped model, or a transformer of that size on [32, 32, 4]; weights are arguments."""
    if name not in SIZES:
        return dg.models.load(name)
    module, shape = dg.models.DiT(**SIZES[name]), (32, 32, 4)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros(shape), jnp.zeros(()))
    return dg.diffusion(
        module.apply,
        params=params,
        path=dg.paths.variance_preserving(),
        prediction="v",
        log_snr=(-9.0, 8.0),
        shape=shape,
    )
