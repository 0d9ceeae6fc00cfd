"""A flow in the plane, trained by flow matching on two moons when the race starts."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

__all__ = ["data", "trained", "velocity"]

WIDTH, DEPTH, BATCH = 128, 4, 256


def data(key: Array, count: int) -> Array:
    """Two half circles with noise of 0.05, scaled to a standard deviation near 1."""
    turn, which, noise = jax.random.split(key, 3)
    angle = jnp.pi * jax.random.uniform(turn, (count,))
    lower = jax.random.bernoulli(which, shape=(count,))[:, None]
    upper = jnp.stack([jnp.cos(angle), jnp.sin(angle)], 1)
    points = jnp.where(lower, jnp.stack([1.0 - upper[:, 0], 0.5 - upper[:, 1]], 1), upper)
    points = points + 0.05 * jax.random.normal(noise, points.shape)
    return (points - jnp.asarray([0.5, 0.25])) * 1.3


def velocity(params: Any, x: Array, t: Array) -> Array:
    """One sample x [2] at flow time t: a multilayer perceptron of SiLU units."""
    hidden = jnp.append(x, t.astype(x.dtype))
    for i in range(DEPTH):
        layer = params[f"layer{i}"]
        hidden = jax.nn.silu(hidden @ layer["kernel"] + layer["bias"])
    layer = params[f"layer{DEPTH}"]
    return hidden @ layer["kernel"] + layer["bias"]


def _fresh(key: Array) -> Any:
    sizes = [3, *[WIDTH] * DEPTH, 2]
    keys = jax.random.split(key, DEPTH + 1)
    return {
        f"layer{i}": {
            "kernel": jax.random.normal(keys[i], (a, b)) / a**0.5,
            "bias": jnp.zeros(b),
        }
        for i, (a, b) in enumerate(pairwise(sizes))
    }


def _loss(params: Any, key: Array) -> Array:
    """Flow matching on the straight path x_t = (1 - t) noise + t x (Lipman et al., ICLR 2023)."""
    of_data, of_noise, of_time = jax.random.split(key, 3)
    x, noise = data(of_data, BATCH), jax.random.normal(of_noise, (BATCH, 2))
    t = jax.random.uniform(of_time, (BATCH,))
    at = (1.0 - t)[:, None] * noise + t[:, None] * x
    found = jax.vmap(velocity, (None, 0, 0))(params, at, t)
    return jnp.mean(jnp.sum((found - (x - noise)) ** 2, axis=1))


@partial(jax.jit, static_argnums=1)
def _train(key: Array, steps: int) -> Any:
    optimiser = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    params = _fresh(key)

    def body(carry: Any, key: Array) -> tuple[Any, None]:
        params, state = carry
        moves, state = optimiser.update(jax.grad(_loss)(params, key), state)
        return (optax.apply_updates(params, moves), state), None

    return jax.lax.scan(body, (params, optimiser.init(params)), jax.random.split(key, steps))[0][0]


def trained(steps: int, kept: Path) -> Any:
    """The weights; read from ``kept`` if there are some."""
    if not kept.exists():
        params = jax.tree.map(np.asarray, _train(jax.random.key(0), steps))
        flat = {f"{layer}.{name}": a for layer, leaf in params.items() for name, a in leaf.items()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **flat)
    tree: dict[str, Any] = {}
    for name, value in np.load(kept).items():
        layer, leaf = name.split(".")
        tree.setdefault(layer, {})[leaf] = value
    return tree
