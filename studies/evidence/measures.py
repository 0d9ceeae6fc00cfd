"""What people may mean by the detail of a picture, each as one number that needs no model."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image
from scipy import ndimage

from densityguide.plotting import high_frequency_power, png_bytes

__all__ = ["MEASURES", "edges", "of", "packed", "total_variation", "wavelets"]

EDGE = 0.1  # a slope of grey, on the scale 0 .. 1 per pixel, from which it counts as an edge


def packed(image: np.ndarray, kind: str, **options: object) -> int:
    """Bytes of a uint8 picture [H, W, C] in a format of Pillow's."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, kind, **options)
    return buffer.tell()


def total_variation(image: np.ndarray, levels: int) -> float:
    """Mean absolute difference of neighbours in a picture [H, W, C], on the scale 0 .. 1."""
    pixels = _scaled(image, levels)
    return float(np.abs(np.diff(pixels, axis=0)).mean() + np.abs(np.diff(pixels, axis=1)).mean())


def wavelets(image: np.ndarray, levels: int) -> float:
    """Mean square of the finest Haar coefficients of a picture: of what blocks of 2 x 2 pixels
    have beside their mean."""
    pixels = _scaled(image, levels)
    height, width, channels = pixels.shape
    pixels = pixels[: height // 2 * 2, : width // 2 * 2]
    blocks = pixels.reshape(height // 2, 2, width // 2, 2, channels)
    return float(np.var(blocks, axis=(1, 3)).mean())


def edges(image: np.ndarray, levels: int) -> float:
    """Share of pixels where the Sobel slope of the mean of the channels exceeds `EDGE`."""
    grey = _scaled(image, levels).mean(axis=-1)
    slope = np.hypot(ndimage.sobel(grey, axis=0), ndimage.sobel(grey, axis=1)) / 8.0
    return float((slope > EDGE).mean())


def _scaled(image: np.ndarray, levels: int) -> np.ndarray:
    return np.asarray(image, np.float64) / (levels - 1)


def _bytes(image: np.ndarray, levels: int, size: Callable[[np.ndarray], int]) -> float:
    return float(size((_scaled(image, levels) * 255.0).round().astype(np.uint8)))


def _power(image: np.ndarray, levels: int) -> float:
    return high_frequency_power(image, levels=levels)


# name -> (words, function of an integer picture [H, W, C] and its number of levels)
MEASURES: dict[str, tuple[str, Callable[[np.ndarray, int], float]]] = {
    "png": ("PNG bytes", partial(_bytes, size=png_bytes)),
    "jpeg": ("JPEG bytes", partial(_bytes, size=partial(packed, kind="JPEG", quality=90))),
    "webp": ("WebP bytes", partial(_bytes, size=partial(packed, kind="WEBP", lossless=True))),
    "power": ("high-frequency power", _power),
    "variation": ("total variation", total_variation),
    "wavelets": ("finest wavelets", wavelets),
    "edges": ("share of edges", edges),
}


def of(images: np.ndarray, levels: int) -> dict[str, np.ndarray]:
    """Every measure [n] of integer pictures [n, H, W, C]."""
    return {
        name: np.asarray([measure(image, levels) for image in images], float)
        for name, (_, measure) in MEASURES.items()
    }
