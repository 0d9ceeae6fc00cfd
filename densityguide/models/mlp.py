"""MLP for low-dimensional data: x [D], scalar log_snr -> [D]."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from densityguide.models.layers import Embedding

__all__ = ["MLP"]


class MLP(nn.Module):
    """Residual SiLU layers of one width, modulated by the embedding; the output starts at zero."""

    width: int = 128
    depth: int = 3
    embedding: int = 64
    classes: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, log_snr: jax.Array, label: jax.Array | None = None
    ) -> jax.Array:
        embedding = Embedding(self.embedding, self.classes, self.dtype, name="time")(log_snr, label)
        hidden = nn.Dense(self.width, dtype=self.dtype, name="input")(x.reshape(-1))
        for i in range(self.depth):
            shift = nn.Dense(self.width, dtype=self.dtype, name=f"modulation{i}")(embedding)
            inner = nn.Dense(self.width, dtype=self.dtype, name=f"layer{i}")(hidden)
            hidden = hidden + nn.Dense(self.width, dtype=self.dtype, name=f"mix{i}")(
                nn.silu(inner + shift)
            )
        zeros = nn.initializers.zeros
        out = nn.Dense(x.size, kernel_init=zeros, dtype=jnp.float32, name="output")(nn.silu(hidden))
        return out.reshape(x.shape).astype(x.dtype)
