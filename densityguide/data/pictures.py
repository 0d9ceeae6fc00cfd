"""A look at samples as one picture: images side by side, points as their density."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

__all__ = ["grid", "points", "save"]


def grid(images: np.ndarray, columns: int = 8, gap: int = 0, fill: int = 0) -> np.ndarray:
    """[N, H, W, C] -> one image of whole rows, `gap` pixels of value `fill` between neighbours."""
    images = np.asarray(images)
    rows = len(images) // columns
    edge = [(0, 0), (0, gap), (0, gap), (0, 0)]
    tiles = np.pad(images[: rows * columns], edge, constant_values=fill)
    height, width, channels = tiles.shape[1:]
    tiles = tiles.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    whole = tiles.reshape(rows * height, columns * width, channels)
    return whole[: rows * height - gap, : columns * width - gap]


def points(values: np.ndarray, side: int = 240, reach: float = 1.3) -> np.ndarray:
    """The density of points [N, 2] within [-reach, reach]^2 as an image uint8 [side, side, 1],
    dark where there are many, the second coordinate upwards."""
    ends = [(-reach, reach)] * 2
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values).all(1)]
    counts = np.histogram2d(values[:, 1], values[:, 0], side, ends)[0][::-1]
    # A pixel as full as the 99th percentile of those that are hit is black.
    full = np.percentile(counts[counts > 0], 99) if counts.any() else 1.0
    return np.rint(255.0 * (1.0 - np.minimum(counts / full, 1.0))).astype(np.uint8)[..., None]


def save(
    path: str | os.PathLike[str], image: np.ndarray, levels: int = 256, factor: int = 1
) -> None:
    """Write a PNG of an image uint8 [H, W, C], values 0 .. levels - 1, C = 1 or 3, each pixel as
    `factor` x `factor` of the file's; whole or not at all."""
    from PIL import Image

    path = Path(path)
    full = np.rint(image.astype(np.float64) * (255.0 / (levels - 1))).astype(np.uint8)
    full = full.repeat(factor, 0).repeat(factor, 1)
    picture = Image.fromarray(full[..., 0] if full.shape[-1] == 1 else full)
    part = path.with_name(f".{path.name}.part")
    picture.save(part, "PNG")
    part.replace(path)
