"""16x16 colour patches of scikit-learn's two sample photographs, at full and at half size.

Whole 64x64 tiles of a photograph are held out, and patches that touch both sides are left out, so
that no held-out pixel is ever seen in training, at either size.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["LICENCE", "SIZE", "read", "tiles"]

LICENCE = (
    "CC BY 2.0 (photographs china.jpg by danielbuechele, flickr 6061409035, and flower.jpg by "
    "vultilion, flickr 6056698931, via scikit-learn; cut into patches)"
)
SIZE, TILE = 16, 64
# Reduction of the photograph -> distance between neighbouring patches.
STRIDES = {1: 4, 2: 2}


def tiles(name: str, height: int, width: int, fraction: float = 0.1) -> np.ndarray:
    """Mask [height, width] of the held-out tiles of a photograph, chosen by SHA-256 of its name,
    row and column."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    mask = np.zeros((rows, columns), bool)
    for row, column in np.ndindex(rows, columns):
        digest = hashlib.sha256(f"{name} {row} {column}".encode()).digest()
        mask[row, column] = int.from_bytes(digest[:8], "big") / 2.0**64 < fraction
    return mask.repeat(TILE, 0).repeat(TILE, 1)[:height, :width]


def _windows(array: np.ndarray, stride: int) -> np.ndarray:
    """Patches [N, SIZE, SIZE, ...] of an array [H, W, ...]."""
    windows = np.lib.stride_tricks.sliding_window_view(array, (SIZE, SIZE), axis=(0, 1))
    windows = np.moveaxis(windows[::stride, ::stride], (-2, -1), (2, 3))
    return windows.reshape(-1, *windows.shape[2:])


def read() -> tuple[np.ndarray, np.ndarray]:
    """Patches uint8 [N, 16, 16, 3] and their held-out mask [N], photograph by photograph."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    patches, held = [], []
    for name in ("china.jpg", "flower.jpg"):
        photo = load_sample_image(name)
        outside = tiles(name, *photo.shape[:2])
        for reduction, stride in STRIDES.items():
            scaled = np.asarray(Image.fromarray(photo).reduce(reduction))
            share = _windows(outside[::reduction, ::reduction], stride).mean((1, 2))
            pure = (share == 0) | (share == 1)
            patches.append(_windows(scaled, stride)[pure])
            held.append(share[pure] == 1)
    return np.concatenate(patches), np.concatenate(held)
