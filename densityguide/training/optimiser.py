"""AdamW with warm-up, constant and cosine-decay phases; exponential moving average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from densityguide.training.config import Optimiser

__all__ = ["learning_rate", "moving_average", "optimiser"]


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
    """Global-norm clipping, then AdamW; weight decay on matrices and kernels only."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            learning_rate(config),
            b2=config.b2,
            weight_decay=config.weight_decay,
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
        ),
    )


def moving_average(ema: Any, params: Any, step: jax.Array, decay: float) -> Any:
    """ema + (1 - d) (params - ema), d = min(decay, (1 + step) / (10 + step)): no slow start."""
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + rate * (new - old), ema, params)
