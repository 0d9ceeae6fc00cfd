"""One interface to the data sets: `load(name)` -> `Dataset`."""

from __future__ import annotations

import difflib
import hashlib
import os
from typing import NamedTuple

import numpy as np

from densityguide.data import digits, emoji, photos
from densityguide.data.transforms import Dequantise

__all__ = ["NAMES", "Dataset", "checksum", "load"]

NAMES = ("emoji32", "digits8", "photos16")


class Dataset(NamedTuple):
    """Images uint8 [N, H, W, C] with values 0 .. levels - 1, in two disjoint parts, and the class
    labels [N] of the first where the set has some."""

    train: np.ndarray
    heldout: np.ndarray
    levels: int
    name: str
    licence: str
    checksum: str
    labels: np.ndarray | None = None  # of `train`, integers from 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape [H, W, C] of one image."""
        return self.train.shape[1:]

    @property
    def transform(self) -> Dequantise:
        """The declared transform to [-1, 1)."""
        return Dequantise(self.levels)


def checksum(images: np.ndarray) -> str:
    """SHA-256 of dtype, shape and bytes of an array."""
    head = f"{images.dtype.str}{images.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(images).tobytes()).hexdigest()


def load(name: str, font: str | os.PathLike | None = None) -> Dataset:
    """The data set `name`, one of `NAMES`; the checksum covers all images before the split.

    ValueError for an unknown name; FileNotFoundError when emoji32 finds no font.
    """
    if name == "emoji32":
        (images, groups), labels = emoji.read(font), None
        mask = np.asarray([emoji.held_out(group) for group in groups])
        levels, licence = 256, emoji.LICENCE
    elif name == "digits8":
        images, labels, mask = digits.read()
        levels, licence = 17, digits.LICENCE
    elif name == "photos16":
        (images, mask), labels = photos.read(), None
        levels, licence = 256, photos.LICENCE
    else:
        near = difflib.get_close_matches(str(name), NAMES, 1) or list(NAMES)
        raise ValueError(f"expected a data set name, got {name!r}: did you mean {near[0]!r}?")
    train, heldout = images[~mask], images[mask]
    labels = None if labels is None else labels[~mask]
    return Dataset(train, heldout, levels, name, licence, checksum(images), labels)
