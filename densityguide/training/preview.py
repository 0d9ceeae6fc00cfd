"""Plain samples for a look during training: second-order probability flow, no log-density."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.paths import Path

__all__ = ["grid", "preview"]


def preview(
    score: Callable[[jax.Array, jax.Array], jax.Array],
    path: Path,
    log_snr: tuple[float, float],
    shape: tuple[int, ...],
    key: jax.Array,
    count: int = 16,
    steps: int = 50,
) -> jax.Array:
    """x0 estimates [count, *shape] by Heun's method on dx/dl = drift x + sigma^2 / 2 score.

    `score(x, log_snr)` acts on one sample; steps are uniform in log-SNR, and the last state is
    replaced by its denoised mean (x + sigma^2 score) / alpha.
    """
    low, high = (jnp.asarray(end, jnp.float32) for end in log_snr)
    size = (high - low) / steps

    def velocity(x, t):
        return path.drift(t) * x + 0.5 * path.sigma(t) ** 2 * jax.vmap(score, (0, None))(x, t)

    def step(x, index):
        t = low + size * index
        first = velocity(x, t)
        second = velocity(x + size * first, t + size)
        return x + 0.5 * size * (first + second), None

    start = path.sigma(low) * jax.random.normal(key, (count, *shape))
    x, _ = jax.lax.scan(step, start, jnp.arange(steps))
    last = jax.vmap(score, (0, None))(x, high)
    return (x + path.sigma(high) ** 2 * last) / path.alpha(high)


def grid(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """[N, H, W, C] -> one image [rows H, columns W, C]; N is cut to whole rows."""
    images = np.asarray(images)
    rows = len(images) // columns
    tiles = images[: rows * columns].reshape(rows, columns, *images.shape[1:])
    return tiles.transpose(0, 2, 1, 3, 4).reshape(
        rows * images.shape[1], columns * images.shape[2], images.shape[3]
    )
