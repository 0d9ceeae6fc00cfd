"""AdamW or Muon with warm-up, constant and cosine-decay phases; exponential moving average.

Muon (Jordan et al. 2024; its scale after Liu et al. 2025, arXiv 2502.16982) takes a kernel
[..., rows, columns] as one matrix of all axes but the last by the last, G = its gradient:

    m <- .95 m + .05 G,    u = .95 m + .05 G (bias-corrected: Nesterov),    u <- u / |u|,
    u <- a u + (b u u^T + c (u u^T)^2) u    five times, (a, b, c) = (3.4445, -4.7750, 2.0315),
    W <- W - rate (.2 sqrt(max(rows, columns)) u + weight_decay W).

The iteration draws the singular values of u near 1, so that the root mean square of an entry's step
is about .2 of the rate, as Adam's is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from densityguide.training.config import Optimiser

__all__ = ["learning_rate", "moving_average", "optimiser", "rules"]

MOMENTUM, SCALE = 0.95, 0.2
# AdamW steps these kernels: they lie between pixels or labels and the network's own channels.
ENDS = {"input", "output", "embedding"}


def learning_rate(config: Optimiser) -> Callable[[ArrayLike], jax.Array]:
    """step -> rate: linear warm-up, constant, cosine to zero over the last `decay` steps."""

    def rate(step: ArrayLike) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        warm = jnp.minimum(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
        late = (step - (config.steps - config.decay)) / max(config.decay, 1)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(late, 0.0, 1.0)))
        return config.learning_rate * warm * fall

    return rate


def optimiser(config: Optimiser) -> optax.GradientTransformation:
    """Global-norm clipping, then AdamW, or Muon on inner kernels and AdamW on the rest."""
    step = _adamw(config)
    if config.kind == "muon":
        step = optax.partition({"adamw": step, "muon": _muon(config)}, rules)
    return optax.chain(optax.clip_by_global_norm(config.clip), step)


def rules(params: Any) -> Any:
    """For each parameter of a network, which rule steps it when `kind` is muon: "muon" for matrices
    and kernels, "adamw" for input, output, embedding tables, biases and scales."""

    def rule(path: tuple[Any, ...], leaf: jax.Array) -> str:
        ends = ENDS & {str(getattr(entry, "key", entry)) for entry in path}
        return "adamw" if leaf.ndim < 2 or ends else "muon"

    return jax.tree_util.tree_map_with_path(rule, params)


def _adamw(config: Optimiser) -> optax.GradientTransformation:
    """Weight decay on matrices and kernels only."""
    return optax.adamw(
        learning_rate(config),
        b2=config.b2,
        weight_decay=config.weight_decay,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    )


def _muon(config: Optimiser) -> optax.GradientTransformation:
    """The equations above, for a tree of kernels."""

    def matrices(kernels: Any) -> Any:
        numbers = optax.contrib.MuonDimensionNumbers
        return jax.tree.map(lambda k: numbers(tuple(range(k.ndim - 1)), -1), kernels)

    def scaled(updates: Any, _: Any) -> Any:
        return jax.tree.map(
            lambda u: SCALE * max(u.size // u.shape[-1], u.shape[-1]) ** 0.5 * u, updates
        )

    return optax.chain(
        optax.contrib.scale_by_muon(beta=MOMENTUM, weight_dimension_numbers=matrices),
        optax.stateless(scaled),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_learning_rate(learning_rate(config)),
    )


def moving_average(ema: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """ema + (1 - d) (params - ema), d = min(decay, (1 + step) / (10 + step)): no slow start."""
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + rate * (new - old), ema, params)
