"""Networks by kind, from the plain values a configuration or a model card holds."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from densityguide.models.dit import DiT
from densityguide.models.edm2 import EDM2
from densityguide.models.mlp import MLP
from densityguide.models.preconditioned import Preconditioned
from densityguide.models.unet import UNet

__all__ = ["KINDS", "build", "initialise", "size"]

KINDS: dict[str, type[nn.Module]] = {"unet": UNet, "dit": DiT, "edm2": EDM2, "mlp": MLP}


def build(kind: str, fields: dict[str, Any]) -> nn.Module:
    """The network; ValueError for an unknown kind or field, naming the nearest known one.

    A field `sigma_data` beside the network's own wraps it in EDM's preconditioning.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, 1, 0.0)[0]
        raise ValueError(f"unknown network kind {kind!r}: did you mean {near!r}?")
    network = KINDS[kind]
    fields = dict(fields)
    sigma_data = fields.pop("sigma_data", None)
    known = [f.name for f in dataclasses.fields(network) if f.name not in ("parent", "name")]
    for key in fields:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)[0]
            raise ValueError(f"unknown field {key!r} of network {kind}: did you mean {near!r}?")
    plain = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in fields.items()}
    if "dtype" in plain:
        plain["dtype"] = jnp.dtype(plain["dtype"])
    if sigma_data is None:
        return network(**plain)
    return Preconditioned(network(**plain), float(sigma_data))


def initialise(module: nn.Module, key: jax.Array, shape: tuple[int, ...]) -> Any:
    """Fresh parameters for one sample of `shape`."""
    return jax.jit(module.init)(key, jnp.zeros(shape), jnp.zeros(()))


def size(params: Any) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
