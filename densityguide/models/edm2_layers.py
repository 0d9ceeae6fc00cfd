"""Layers that keep the magnitude of what they are given (Karras et al., CVPR 2024).

Magnitude is the root mean square over channels. Every layer acts on one sample, channels last, and
none has a bias: weights are normalised where they are used, so that inputs of unit magnitude give
outputs of unit magnitude in expectation, whatever was learned.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Attention", "Fourier", "Label", "Linear"]
__all__ += ["doubled", "halved", "mp_cat", "mp_silu", "mp_sum", "normalised"]

EPSILON = 1e-4
SILU = 0.596  # root mean square of SiLU of a standard normal


def normalised(x: jax.Array, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """``x / (rms(x) + 1e-4)`` along ``axis``; over channels this is the pixel norm."""
    square = jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    size = jnp.sqrt(jnp.mean(square, axis, keepdims=True)) + EPSILON
    return x / size.astype(x.dtype)


def mp_silu(x: jax.Array) -> jax.Array:
    """SiLU over its own magnitude on normal input (Eq. 81)."""
    return nn.silu(x) / SILU


def mp_sum(a: jax.Array, b: jax.Array, share: float) -> jax.Array:
    """``(1 - share) a + share b`` over its magnitude for independent a and b (Eq. 88)."""
    return ((1.0 - share) * a + share * b) / float(np.hypot(1.0 - share, share))


def mp_cat(a: jax.Array, b: jax.Array) -> jax.Array:
    """Channels of both, weighed so that each contributes the same and the magnitude of the whole
    stays (Eq. 103, t = 1/2)."""
    of_a, of_b = a.shape[-1], b.shape[-1]
    total = 0.5 * (of_a + of_b)
    scaled = [float(np.sqrt(total / of_a)) * a, float(np.sqrt(total / of_b)) * b]
    return jnp.concatenate(scaled, -1)


def halved(x: jax.Array) -> jax.Array:
    """[H, W, C] -> [H / 2, W / 2, C], the means of 2 x 2 pixels."""
    height, width, channels = x.shape
    return x.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))


def doubled(x: jax.Array) -> jax.Array:
    """[H, W, C] -> [2 H, 2 W, C], every pixel four times."""
    return x.repeat(2, 0).repeat(2, 1)


class Linear(nn.Module):
    """[C] -> [width], or [H, W, C] -> [H, W, width] through a window of ``side`` x ``side`` pixels
    (Eq. 47): each output's weights have unit magnitude, over the root of their number. ``gain``
    multiplies the output."""

    width: int
    side: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, gain: jax.Array | float = 1.0) -> jax.Array:
        window = (self.side, self.side) if x.ndim == 3 else ()
        shape = (*window, x.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        inputs = tuple(range(len(shape) - 1))
        kernel = normalised(kernel, inputs) * (gain / np.prod(shape[:-1]) ** 0.5)
        kernel = kernel.astype(x.dtype)
        if x.ndim == 1:
            return x @ kernel
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), "SAME", dimension_numbers=layout
        )[0]


class Fourier(nn.Module):
    """``sqrt(2) cos(f t + p)`` of a number t, f and p drawn once and never trained (Eq. 75)."""

    width: int

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:
        turn = 2.0 * np.pi
        frequencies = self.param("frequencies", nn.initializers.normal(turn), (self.width,))
        phases = self.param("phases", nn.initializers.uniform(turn), (self.width,))
        angles = jax.lax.stop_gradient(frequencies) * t + jax.lax.stop_gradient(phases)
        return float(np.sqrt(2.0)) * jnp.cos(angles)


class Label(nn.Module):
    """Embedding of a class: what `Linear` makes of a one-hot vector of unit magnitude. None and -1
    are no class, which is zero."""

    width: int
    classes: int

    @nn.compact
    def __call__(self, label: jax.Array | None) -> jax.Array:
        shape = (self.classes, self.width)
        kernel = normalised(self.param("kernel", nn.initializers.normal(1.0), shape), 0)
        index = jnp.asarray(-1 if label is None else label)
        # A class outside the range, on either side, gives nan, not another class.
        row = jnp.take(kernel, jnp.where(index < 0, self.classes, index), 0, fill_value=jnp.nan)
        return jnp.where(index == -1, 0.0, row)


class Attention(nn.Module):
    """Self-attention of pixels by cosine: queries, keys and values of unit magnitude.
    ``head`` channels a head."""

    head: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width, channels = x.shape
        parts = Linear(3 * channels, name="qkv")(x)
        # The published order of channels: heads outermost, then theirs, and q, k, v innermost.
        parts = normalised(parts.reshape(height * width, -1, self.head, 3), 2)
        q, k, v = jnp.moveaxis(parts, 3, 0)
        scores = jnp.einsum("qhc,khc->hqk", q, k / self.head**0.5)
        weights = nn.softmax(scores.astype(jnp.promote_types(x.dtype, jnp.float32)))
        mixed = jnp.einsum("hqk,khc->qhc", weights.astype(v.dtype), v)
        return Linear(channels, name="out")(mixed.reshape(x.shape))
