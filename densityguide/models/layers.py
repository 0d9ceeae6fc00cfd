"""Layers shared by the networks. Every layer acts on one sample; `jax.vmap` adds the batch."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["Attention", "Embedding", "GroupNorm", "features"]


def features(log_snr: jax.Array, count: int = 64) -> jax.Array:
    """Sines and cosines of log_snr at `count // 2` geometric frequencies: scalar -> [count].

    Wavelengths run from 80 (a slow trend over the whole range) to 2 units of log-SNR; nothing
    finer, so that the derivative in log_snr stays tame for higher-order solvers.
    """
    frequencies = jnp.geomspace(2 * jnp.pi / 80.0, 2 * jnp.pi / 2.0, count // 2)
    angles = jnp.asarray(log_snr, jnp.float32) * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])


class Embedding(nn.Module):
    """Two-layer embedding of log_snr and, where `classes` > 0, of a class label: -> [width]."""

    width: int
    classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, log_snr: jax.Array, label: jax.Array | None = None) -> jax.Array:
        if (label is not None) and not self.classes:
            raise ValueError(
                "expected no label, the network has classes=0: build it with classes=K for labels"
            )
        hidden = nn.Dense(self.width, dtype=self.dtype, name="first")(features(log_snr))
        if self.classes:
            # Index 0 means "no label", so that one network serves both uses.
            index = jnp.asarray(0 if label is None else label + 1)
            # A class outside the range, on either side, gives nan, not another class.
            index = jnp.where(index < 0, self.classes + 1, index)
            hidden = hidden + nn.Embed(self.classes + 1, self.width, dtype=self.dtype)(index)
        return nn.silu(nn.Dense(self.width, dtype=self.dtype, name="second")(nn.silu(hidden)))


class GroupNorm(nn.Module):
    """Group normalisation of one sample [..., C] over all axes and C / groups channels.

    Optional modulation: out = normalised * (1 + scale) + shift with scale, shift of shape [C].
    Statistics are float32 whatever the compute dtype.
    """

    groups: int = 8
    affine: bool = True
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None
    ) -> jax.Array:
        channels = x.shape[-1]
        flat = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(-1, channels)
        # Sums per channel first, groups second: the long reduction keeps channels contiguous.
        moments = jnp.stack([flat.mean(0), jnp.square(flat).mean(0)])
        moments = moments.reshape(2, self.groups, -1).mean(-1)
        mean, square = moments
        inverse = jax.lax.rsqrt(jnp.maximum(square - mean**2, 0.0) + self.epsilon)
        repeat = channels // self.groups
        gain, mean = jnp.repeat(inverse, repeat), jnp.repeat(mean, repeat)
        if self.affine:
            gain = gain * self.param("scale", nn.initializers.ones, (channels,))
        if scale is not None:
            gain = gain * (1 + scale)
        bias = -mean * gain
        if self.affine:
            bias = bias + self.param("bias", nn.initializers.zeros, (channels,))
        if shift is not None:
            bias = bias + shift
        return (flat * gain + bias).reshape(x.shape).astype(x.dtype)


class Attention(nn.Module):
    """Self-attention of tokens [N, C] with `heads` heads; `fresh` starts its output layer at zero
    (not behind a gate that starts at zero: neither would ever move)."""

    heads: int = 4
    dtype: Any = jnp.float32
    fresh: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tokens, channels = x.shape
        qkv = nn.Dense(3 * channels, use_bias=False, dtype=self.dtype, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(tokens, 3, self.heads, -1), 1, 0)
        scores = jnp.einsum("qhc,khc->hqk", q, k) * (channels // self.heads) ** -0.5
        weights = nn.softmax(scores.astype(jnp.float32)).astype(v.dtype)
        mixed = jnp.einsum("hqk,khc->qhc", weights, v).reshape(tokens, channels)
        start = nn.initializers.zeros if self.fresh else nn.initializers.lecun_normal()
        return nn.Dense(channels, dtype=self.dtype, kernel_init=start, name="out")(mixed)
