"""U-Net for small images, channels last, smooth everywhere (GroupNorm and SiLU, no kinks).

The first step folds 2x2 pixels into channels and the last unfolds them, so that no convolution runs
at full resolution: on a CPU most of the time would go there. Residual blocks follow Ho et al. 2020
with time modulation after the second normalisation (Dhariwal and Nichol 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from densityguide.models.layers import Attention, Embedding, GroupNorm

__all__ = ["UNet", "depth_to_space", "space_to_depth"]


def space_to_depth(x: jax.Array, patch: int) -> jax.Array:
    """[H, W, C] -> [H / patch, W / patch, patch * patch * C]."""
    height, width, channels = x.shape
    x = x.reshape(height // patch, patch, width // patch, patch, channels)
    return x.transpose(0, 2, 1, 3, 4).reshape(height // patch, width // patch, -1)


def depth_to_space(x: jax.Array, patch: int) -> jax.Array:
    """Inverse of `space_to_depth`."""
    height, width, channels = x.shape
    x = x.reshape(height, width, patch, patch, channels // patch**2).transpose(0, 2, 1, 3, 4)
    return x.reshape(height * patch, width * patch, -1)


class Block(nn.Module):
    """Residual block: norm, SiLU, 3x3; norm, modulation, SiLU, 3x3 (zero-initialised)."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
        zeros = nn.initializers.zeros
        hidden = nn.silu(GroupNorm(name="norm1")(x))
        hidden = nn.Conv(self.width, (3, 3), dtype=self.dtype, name="conv1")(hidden)
        modulation = nn.Dense(
            2 * self.width, dtype=self.dtype, kernel_init=zeros, name="modulation"
        )(embedding)
        scale, shift = jnp.split(modulation, 2)
        hidden = nn.silu(GroupNorm(affine=False, name="norm2")(hidden, scale, shift))
        hidden = nn.Conv(self.width, (3, 3), dtype=self.dtype, kernel_init=zeros, name="conv2")(
            hidden
        )
        if x.shape[-1] != self.width:
            x = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="skip")(x)
        return x + hidden


class UNet(nn.Module):
    """x [H, W, C], scalar log_snr, optional integer label -> [H, W, C].

    `widths`, `blocks` and `attention` have one entry per level; level i works at resolution
    H / (patch * 2**i), which must be whole; attention follows its level's blocks on the way down.
    The output layer starts at zero.
    ValueError for tuples of unequal length or a shape that does not divide.
    """

    widths: Sequence[int] = (64, 128, 128)
    blocks: Sequence[int] = (2, 2, 2)
    attention: Sequence[bool] = (False, True, True)
    patch: int = 2
    embedding: int = 128
    heads: int = 4
    classes: int = 0
    dtype: Any = jnp.float32

    def check(self, shape: Sequence[int]) -> None:
        """One clear line for fields or a shape that cannot work."""
        if not len(self.widths) == len(self.blocks) == len(self.attention):
            raise ValueError(
                "expected widths, blocks and attention of equal length, got "
                f"{len(self.widths)}, {len(self.blocks)} and {len(self.attention)}"
            )
        if any(width % 8 for width in self.widths):
            raise ValueError(f"expected widths divisible by 8 (groups), got {tuple(self.widths)}")
        factor = self.patch * 2 ** (len(self.widths) - 1)
        if len(shape) != 3 or shape[0] % factor or shape[1] % factor:
            raise ValueError(
                f"expected one sample [H, W, C] with H and W divisible by {factor}, got shape "
                f"{tuple(shape)}; for a batch use jax.vmap"
            )

    @nn.compact
    def __call__(
        self, x: jax.Array, log_snr: jax.Array, label: jax.Array | None = None
    ) -> jax.Array:
        self.check(x.shape)
        channels, dtype = x.shape[-1], self.dtype
        embedding = Embedding(self.embedding, self.classes, dtype, name="time")(log_snr, label)

        def attend(hidden: jax.Array, name: str) -> jax.Array:
            height, width, count = hidden.shape
            tokens = GroupNorm(name=f"{name}_norm")(hidden).reshape(height * width, count)
            mixed = Attention(self.heads, dtype, name=name)(tokens)
            return hidden + mixed.reshape(hidden.shape)

        levels = range(len(self.widths))
        hidden = space_to_depth(x, self.patch).astype(dtype)
        hidden = nn.Conv(self.widths[0], (3, 3), dtype=dtype, name="input")(hidden)
        skips = []
        for i in levels:
            if i:
                hidden = nn.Conv(
                    self.widths[i], (2, 2), strides=(2, 2), dtype=dtype, name=f"down{i}"
                )(hidden)
            for j in range(self.blocks[i]):
                hidden = Block(self.widths[i], dtype, name=f"down{i}_{j}")(hidden, embedding)
                skips.append(hidden)
            if self.attention[i]:
                hidden = attend(hidden, f"attention{i}")
        for i in reversed(levels):
            for j in range(self.blocks[i]):
                hidden = jnp.concatenate([hidden, skips.pop()], -1)
                hidden = Block(self.widths[i], dtype, name=f"up{i}_{j}")(hidden, embedding)
            if i:
                hidden = nn.Dense(4 * self.widths[i - 1], dtype=dtype, name=f"up{i}")(hidden)
                hidden = depth_to_space(hidden, 2)
        hidden = nn.silu(GroupNorm(name="output_norm")(hidden))
        out = nn.Conv(
            self.patch**2 * channels,
            (3, 3),
            dtype=jnp.float32,
            kernel_init=nn.initializers.zeros,
            name="output",
        )(hidden)
        return depth_to_space(out, self.patch).astype(x.dtype)
