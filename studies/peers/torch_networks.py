"""The subjects' networks in PyTorch, with the weights that the flax ones have.

Attributes bear flax's names, so that `carry` finds each weight by its place in the tree. States are
[B, H, W, C] outside and the same memory is [B, C, H, W] inside, which is PyTorch's channels-last
layout: the one its convolutions are quickest in on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

__all__ = ["MLP", "UNet", "carry"]


def carry(module: nn.Module, weights: Mapping[str, Any]) -> nn.Module:
    """``module`` with a flax tree's ``weights`` (kernels transposed); KeyError for one it lacks."""
    for name, child in module.named_children():
        if any(True for _ in child.parameters()):
            carry(child, weights[name])
    given = {name: np.array(value) for name, value in weights.items() if hasattr(value, "shape")}
    for name, parameter in module.named_parameters(recurse=False):
        value = given["bias" if name == "bias" else "kernel" if "kernel" in given else "scale"]
        if value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif value.ndim == 2:
            value = value.T.reshape(parameter.shape)  # a convolution of one pixel too
        parameter.data = torch.from_numpy(np.ascontiguousarray(value, np.float32))
    return module.requires_grad_(False)


class MLP(nn.Module):
    """x [B, 2] and t [B] to a velocity [B, 2]: four SiLU layers of one width."""

    def __init__(self, width: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.depth = depth
        for i in range(depth + 1):
            sizes = (3 if i == 0 else width, 2 if i == depth else width)
            self.add_module(f"layer{i}", nn.Linear(*sizes))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        hidden = torch.cat([x, t.expand(x.shape[0])[:, None]], 1)
        for i in range(self.depth):
            hidden = silu(getattr(self, f"layer{i}")(hidden))
        return getattr(self, f"layer{self.depth}")(hidden)


class Embedding(nn.Module):
    def __init__(self, width: int, count: int = 64) -> None:
        super().__init__()
        frequencies = np.geomspace(2 * np.pi / 80.0, 2 * np.pi / 2.0, count // 2)
        self.register_buffer("frequencies", torch.tensor(frequencies, dtype=torch.float32))
        self.first, self.second = nn.Linear(count, width), nn.Linear(width, width)

    def forward(self, log_snr: Tensor) -> Tensor:
        angles = log_snr[:, None] * self.frequencies
        features = torch.cat([torch.sin(angles), torch.cos(angles)], 1)
        return silu(self.second(silu(self.first(features))))


class Norm(nn.GroupNorm):
    def __init__(self, channels: int, affine: bool = True) -> None:
        super().__init__(8, channels, eps=1e-5, affine=affine)


class Block(nn.Module):
    def __init__(self, inner: int, width: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(inner), Norm(width, affine=False)
        self.conv1 = nn.Conv2d(inner, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * width)
        if inner != width:
            self.skip = nn.Conv2d(inner, width, 1, bias=False)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv1(silu(self.norm1(x)))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        hidden = self.conv2(silu(self.norm2(hidden) * (1 + scale) + shift))
        return hidden + (self.skip(x) if hasattr(self, "skip") else x)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, width, height, across = x.shape
        tokens = x.permute(0, 2, 3, 1).reshape(batch, height * across, width)
        qkv = self.qkv(tokens).reshape(batch, height * across, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(tokens.shape)
        return self.out(mixed).reshape(batch, height, across, width).permute(0, 3, 1, 2)


def _fold(x: Tensor, patch: int) -> Tensor:
    """[B, C, H, W] to [B, patch patch C, H / patch, W / patch], C fastest."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // patch, width // patch)


def _unfold(x: Tensor, patch: int) -> Tensor:
    batch, channels, height, width = x.shape
    x = x.reshape(batch, patch, patch, channels // patch**2, height, width)
    return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * patch, width * patch)


class UNet(nn.Module):
    """x [B, H, W, C] and log_snr [B] to the network's prediction [B, H, W, C]."""

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        attention: Sequence[bool],
        patch: int = 2,
        embedding: int = 128,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.blocks, self.attended, self.patch = tuple(blocks), tuple(attention), patch
        self.time = Embedding(embedding)
        self.input = nn.Conv2d(patch**2 * channels, widths[0], 3, padding=1)
        skips, width = [], widths[0]
        for i, (level, count) in enumerate(zip(widths, blocks, strict=True)):
            if i:
                self.add_module(f"down{i}", nn.Conv2d(width, level, 2, stride=2))
                width = level
            for j in range(count):
                self.add_module(f"down{i}_{j}", Block(width, level, embedding))
                width = level
                skips.append(level)
            if attention[i]:
                self.add_module(f"attention{i}_norm", Norm(level))
                self.add_module(f"attention{i}", Attention(level, heads))
        for i in reversed(range(len(widths))):
            for j in range(blocks[i]):
                self.add_module(f"up{i}_{j}", Block(width + skips.pop(), widths[i], embedding))
                width = widths[i]
            if i:
                self.add_module(f"up{i}", nn.Conv2d(width, 4 * widths[i - 1], 1))
                width = widths[i - 1]
        self.output_norm = Norm(width)
        self.output = nn.Conv2d(width, patch**2 * channels, 3, padding=1)

    def forward(self, x: Tensor, log_snr: Tensor) -> Tensor:
        embedding = self.time(log_snr.expand(x.shape[0]))
        hidden = self.input(_fold(x.permute(0, 3, 1, 2), self.patch))
        skips = []
        for i, count in enumerate(self.blocks):
            if i:
                hidden = getattr(self, f"down{i}")(hidden)
            for j in range(count):
                hidden = getattr(self, f"down{i}_{j}")(hidden, embedding)
                skips.append(hidden)
            if self.attended[i]:
                normed = getattr(self, f"attention{i}_norm")(hidden)
                hidden = hidden + getattr(self, f"attention{i}")(normed)
        for i in reversed(range(len(self.blocks))):
            for j in range(self.blocks[i]):
                hidden = torch.cat([hidden, skips.pop()], 1)
                hidden = getattr(self, f"up{i}_{j}")(hidden, embedding)
            if i:
                hidden = _unfold(getattr(self, f"up{i}")(hidden), 2)
        out = self.output(silu(self.output_norm(hidden)))
        return _unfold(out, self.patch).permute(0, 2, 3, 1)
