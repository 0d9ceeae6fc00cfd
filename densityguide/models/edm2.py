"""EDM2's network (Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion
Models", CVPR 2024, configuration G), channels last.

A U-Net whose every layer keeps magnitudes, see `densityguide.models.edm2_layers`: no bias, no norm
with learned numbers; pixels are normalised once, in the encoder's blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from densityguide.models.edm2_layers import (
    Attention,
    Fourier,
    Label,
    Linear,
    doubled,
    halved,
    mp_cat,
    mp_silu,
    mp_sum,
    normalised,
)

__all__ = ["EDM2", "SIZES"]

RESIDUAL = ATTENDED = 0.3  # share of a branch in what it is added to
LABEL = 0.5  # share of the class in the embedding
CLIP = 256.0
DEPTHS = (1, 2, 3, 4)  # multiples of the first width, level by level

# The published sizes: channels level by level.
SIZES = {
    name: tuple(width * depth for depth in DEPTHS)
    for name, width in {"xs": 128, "s": 192, "m": 256, "l": 320, "xl": 384, "xxl": 448}.items()
}


class Block(nn.Module):
    """Residual block (Figure 21): resampled where told, SiLU, 3x3, modulation, SiLU, 3x3, and
    self-attention where ``head`` is not 0."""

    width: int
    encodes: bool
    head: int = 0
    resample: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
        def fitted(x: jax.Array) -> jax.Array:
            return x if x.shape[-1] == self.width else Linear(self.width, name="skip")(x)

        if self.resample is not None:
            x = self.resample(x)
        if self.encodes:
            x = normalised(fitted(x))
        hidden = Linear(self.width, 3, name="first")(mp_silu(x))
        gain = self.param("gain", nn.initializers.zeros, ())
        scale = 1.0 + Linear(self.width, name="modulation")(embedding, gain)
        hidden = Linear(self.width, 3, name="second")(mp_silu(hidden * scale))
        x = mp_sum(x if self.encodes else fitted(x), hidden, RESIDUAL)
        if self.head:
            x = mp_sum(x, Attention(self.head, name="attention")(x), ATTENDED)
        return jnp.clip(x, -CLIP, CLIP)


class EDM2(nn.Module):
    """x [H, W, C] of unit magnitude, scalar log_snr, optional integer label -> [H, W, C].

    `widths` and `attention` have one entry per level; level i works at resolution H / 2**i, which
    must be whole, and has `blocks` blocks on the way down, one more on the way up. `head` channels
    make a head of attention. Its noise level is told as ``log(sigma) / 4 = -log_snr / 8``; `build`
    wraps it in EDM's preconditioning where there is a field ``sigma_data``. The output's gain
    starts at zero.

    Weights are normalised where they are used. That they are also *forced* to unit magnitude after
    every step of training is part of the paper's training, which is not done here.
    ValueError for tuples of unequal length, widths that are no whole number of heads, or a shape
    that does not divide.
    """

    widths: Sequence[int] = SIZES["s"]
    blocks: int = 3
    attention: Sequence[bool] = (False, False, True, True)
    head: int = 64
    classes: int = 0
    dtype: Any = jnp.float32

    def check(self, shape: Sequence[int]) -> None:
        """One clear line for fields or a shape that cannot work."""
        if len(self.widths) != len(self.attention):
            raise ValueError(
                f"expected widths and attention of equal length, got {len(self.widths)} and "
                f"{len(self.attention)}"
            )
        attending = {width for width, on in zip(self.widths, self.attention, strict=True) if on}
        if any(width % self.head for width in attending | {self.widths[-1]}):
            raise ValueError(
                f"expected widths of levels with attention, and the last, divisible by "
                f"head={self.head}, got {tuple(self.widths)}"
            )
        factor = 2 ** (len(self.widths) - 1)
        if len(shape) != 3 or shape[0] % factor or shape[1] % factor:
            raise ValueError(
                f"expected one sample [H, W, C] with H and W divisible by {factor}, got shape "
                f"{tuple(shape)}; for a batch use jax.vmap"
            )

    def embed(self, log_snr: jax.Array, label: jax.Array | None) -> jax.Array:
        """Noise level and class -> [largest width]."""
        if (label is not None) and not self.classes:
            raise ValueError(
                "expected no label, the network has classes=0: build it with classes=K for labels"
            )
        width = max(self.widths)
        noise = Fourier(self.widths[0], name="fourier")(-0.125 * jnp.asarray(log_snr, jnp.float32))
        embedding = Linear(width, name="noise")(noise)
        if self.classes:
            told = Label(width, self.classes, name="label")(label)
            embedding = mp_sum(embedding, told, LABEL)
        return mp_silu(embedding).astype(self.dtype)

    @nn.compact
    def __call__(
        self, x: jax.Array, log_snr: jax.Array, label: jax.Array | None = None
    ) -> jax.Array:
        self.check(x.shape)
        embedding, widths = self.embed(log_snr, label), self.widths
        levels = range(len(widths))
        heads = [self.head if on else 0 for on in self.attention]
        # Without biases a constant channel is what lets the network tell zero from nothing.
        hidden = jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1).astype(self.dtype)
        hidden = Linear(widths[0], 3, name="input")(hidden)
        skips = [hidden]
        for i in levels:
            if i:
                down = Block(widths[i - 1], True, resample=halved, name=f"down{i}")
                hidden = down(hidden, embedding)
                skips.append(hidden)
            for j in range(self.blocks):
                hidden = Block(widths[i], True, heads[i], name=f"down{i}_{j}")(hidden, embedding)
                skips.append(hidden)
        for j, head in enumerate((self.head, 0)):
            hidden = Block(widths[-1], False, head, name=f"middle{j}")(hidden, embedding)
        for i in reversed(levels):
            if i < levels[-1]:
                up = Block(widths[i + 1], False, resample=doubled, name=f"up{i}")
                hidden = up(hidden, embedding)
            for j in range(self.blocks + 1):
                hidden = mp_cat(hidden, skips.pop())
                hidden = Block(widths[i], False, heads[i], name=f"up{i}_{j}")(hidden, embedding)
        gain = self.param("gain", nn.initializers.zeros, ())
        return Linear(x.shape[-1], 3, name="output")(hidden, gain).astype(x.dtype)
