"""Pictures of others, opened with care; and samples as one picture: images side by side, points as
their density."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from densityguide.disk import atomic, files

__all__ = ["NUMBERS", "SUFFIXES", "grid", "opened", "points", "save", "seen", "size", "within"]

Image = Any  # of Pillow, which is loaded when it is needed
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# Pillow would also hand PostScript to a program that runs it.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # how the camera was held, as it says
NUMBERS = 2**24  # in one sample: more is a mistake


def within(folder: Path, *, below: bool = False) -> list[Path]:
    """The pictures in a folder, by the ends of their names, sorted; with ``below`` those in its
    sub-folders too. Hidden ones (a Mac's copies bring some that are no pictures) and whatever is
    not a file are left out."""
    os.scandir(folder).close()  # or `glob` would find nothing in one that may not be read
    return sorted(
        path
        for path in folder.glob("**/*" if below else "*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image]:
    """The picture in a file, not yet decoded; ValueError, one line, whatever is wrong with it, also
    while it is decoded."""
    import PIL.Image

    path = files.ordinary(path, "a picture")
    with path.open("rb") as file:  # a file that may not be read is not a damaged one
        try:
            with PIL.Image.open(file, formats=FORMATS) as picture:
                yield picture
        except UNREADABLE as error:
            reason = " ".join(str(error).split()).replace(repr(file), "the file")
        except PIL.Image.DecompressionBombError:
            reason = "it would fill the memory"
        else:
            return
    raise ValueError(
        f"expected a picture, {path} cannot be decoded ({reason:.200}): repair or remove it"
    )


UNREADABLE: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,
    ValueError,
    OverflowError,
    MemoryError,
    EOFError,
)
UNREADABLE += (struct.error, zlib.error, KeyError, IndexError, TypeError)


def size(picture: Image) -> tuple[int, int]:
    """(height, width) once it is turned as its camera says."""
    # Pillow turns a TIFF by itself, and would decode a whole PNG to look for what it may say.
    told = picture.format != "TIFF" and (picture.format != "PNG" or "exif" in picture.info)
    turned = told and picture.getexif().get(ORIENTATION) in TURNED
    return (picture.width, picture.height) if turned else (picture.height, picture.width)


def seen(picture: Image) -> Image:
    """The picture turned as its camera says."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


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
    # Black is a pixel as full as the 99th percentile of those that hold any point.
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
    with atomic.place(path.parent, path.name) as hidden:
        picture.save(hidden / path.name, "PNG")
