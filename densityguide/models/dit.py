"""Diffusion transformer (Peebles and Xie, ICCV 2023) for small images, channels last.

Patches become tokens with a fixed sine-cosine position, and every block is modulated by the
embedding of time and class through adaptive layer norms whose gates start at zero. All
activations are smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from densityguide.models.layers import Attention, Embedding
from densityguide.models.unet import depth_to_space, space_to_depth

__all__ = ["DiT"]


def positions(height: int, width: int, channels: int) -> np.ndarray:
    """Sines and cosines of row and column: [height * width, channels]."""
    frequencies = 1.0 / 100.0 ** (np.arange(channels // 4) / (channels // 4))
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    angles = [np.outer(axis.reshape(-1), frequencies) for axis in (rows, columns)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1)


class Block(nn.Module):
    """Attention and a two-layer network on tokens [N, C], each shifted, scaled and gated."""

    heads: int
    ratio: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
        width, zeros = x.shape[-1], nn.initializers.zeros
        modulation = nn.Dense(6 * width, dtype=self.dtype, kernel_init=zeros, name="modulation")
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(modulation(embedding), 6)

        def norm(name: str) -> nn.LayerNorm:
            return nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32, name=name)

        hidden = (norm("norm1")(x) * (1 + scale1) + shift1).astype(self.dtype)
        x = x + gate1 * Attention(self.heads, self.dtype, fresh=False, name="attention")(hidden)
        hidden = (norm("norm2")(x) * (1 + scale2) + shift2).astype(self.dtype)
        hidden = nn.gelu(nn.Dense(self.ratio * width, dtype=self.dtype, name="first")(hidden))
        return x + gate2 * nn.Dense(width, dtype=self.dtype, name="second")(hidden)


class DiT(nn.Module):
    """x [H, W, C], scalar log_snr, optional integer label -> [H, W, C].

    H and W are divisible by ``patch``, ``width`` by 4 and by ``heads`` (ValueError otherwise). The
    output layer starts at zero.
    """

    width: int = 128
    depth: int = 4
    heads: int = 4
    patch: int = 2
    ratio: int = 4
    embedding: int = 128
    classes: int = 0
    dtype: Any = jnp.float32

    def check(self, shape: Sequence[int]) -> None:
        """One clear line for fields or a shape that cannot work."""
        if self.width % 4 or self.width % self.heads:
            raise ValueError(
                f"expected width divisible by 4 and by heads={self.heads}, got {self.width}"
            )
        if len(shape) != 3 or shape[0] % self.patch or shape[1] % self.patch:
            raise ValueError(
                f"expected one sample [H, W, C] with H and W divisible by {self.patch}, got shape "
                f"{tuple(shape)}; for a batch use jax.vmap"
            )

    @nn.compact
    def __call__(
        self, x: jax.Array, log_snr: jax.Array, label: jax.Array | None = None
    ) -> jax.Array:
        self.check(x.shape)
        dtype, zeros = self.dtype, nn.initializers.zeros
        embedding = Embedding(self.embedding, self.classes, dtype, name="time")(log_snr, label)
        patches = space_to_depth(x, self.patch)
        height, width, channels = patches.shape
        tokens = nn.Dense(self.width, dtype=dtype, name="input")(
            patches.reshape(-1, channels).astype(dtype)
        )
        tokens = tokens + jnp.asarray(positions(height, width, self.width), dtype)
        for i in range(self.depth):
            tokens = Block(self.heads, self.ratio, dtype, name=f"block{i}")(tokens, embedding)
        modulation = nn.Dense(2 * self.width, dtype=dtype, kernel_init=zeros, name="modulation")
        shift, scale = jnp.split(modulation(embedding), 2)
        norm = nn.LayerNorm(use_bias=False, use_scale=False, dtype=jnp.float32, name="norm")
        tokens = norm(tokens) * (1 + scale) + shift
        out = nn.Dense(channels, dtype=jnp.float32, kernel_init=zeros, name="output")(tokens)
        return depth_to_space(out.reshape(height, width, channels), self.patch).astype(x.dtype)
