"""One interface to the data sets: `load(name)` -> `Dataset`."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from densityguide.data import arrays, digits, emoji, fashion, folder, photos, shapes, tiles
from densityguide.data.transforms import Dequantise

__all__ = ["NAMES", "Dataset", "checksum", "load"]

NAMES = ("tiles32", "emoji32", "digits8", "fashion28", "photos16", *shapes.NAMES)


class Dataset(NamedTuple):
    """Samples in two disjoint parts: images uint8 [N, H, W, C] with values 0 .. levels - 1, or
    points float32 [N, D], of which `levels` is 0; and their class labels [N] where there are some.

    `train` may be a `folder.Files`, whose images are decoded when they are indexed.
    """

    train: np.ndarray | folder.Files
    heldout: np.ndarray
    levels: int
    name: str
    licence: str
    checksum: str
    labels: np.ndarray | None = None  # of `train`, integers from 0
    heldout_labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()  # their names, where they are known

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: [H, W, C], or [D]."""
        return self.train.shape[1:]

    @property
    def transform(self) -> Dequantise | None:
        """The declared transform to [-1, 1); None for points, which are taken as they are."""
        return Dequantise(self.levels) if self.levels else None


def checksum(images: np.ndarray) -> str:
    """SHA-256 of dtype, shape and bytes of an array."""
    head = f"{images.dtype.str}{images.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(images).tobytes()).hexdigest()


def load(
    name: str,
    font: str | os.PathLike[str] | None = None,
    shape: Sequence[int] = (),
    memory: float = 1024.0,
) -> Dataset:
    """A data set: one of `NAMES`, an npz file of one's own, a folder of pictures, or one of the
    four idx files of MNIST and its relatives.

    Args:
        name: a built-in name; else ``FILE.npz`` or a folder, see `arrays.read`, `folder.read`.
        font: of emoji32, if not the installed one.
        shape: [H, W, C] the pictures of a folder are cut and scaled to.
        memory: MiB of pixels of a folder that are kept in memory; beyond, files are read as needed.

    The checksum covers all images, before the split.

    Raises:
        ValueError, FileNotFoundError: an unknown name, no font, wrong files; one line each.
    """
    name = str(name)
    if name in NAMES:
        return _built_in(name, font)
    if name.endswith(".npz"):
        parts = arrays.read(name)
        both = np.concatenate([parts["train"], parts["heldout"]])
        return Dataset(name=Path(name).stem, checksum=checksum(both), **parts)
    if fashion.is_idx(name):
        return _whole(Path(name).name, *fashion.read(name), 256, "not stated")
    if Path(name).is_dir() or os.sep in name:
        return Dataset(name=Path(name).name, **folder.read(name, shape, memory))
    near = difflib.get_close_matches(name, NAMES, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"built in are {', '.join(NAMES)}"
    raise ValueError(f"expected a data set, an npz file or a folder, got {name!r}: {hint}")


def _built_in(name: str, font: str | os.PathLike[str] | None) -> Dataset:
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if name == "tiles32":
        images, labels, mask, classes = tiles.read()
        levels, licence = 256, tiles.LICENCE
    elif name == "emoji32":
        images, groups = emoji.read(font)
        mask = np.asarray([emoji.held_out(group) for group in groups])
        levels, licence = 256, emoji.LICENCE
    elif name == "digits8":
        images, labels, mask = digits.read()
        levels, licence = 17, digits.LICENCE
    elif name == "fashion28":
        images, labels, mask = fashion.read()
        levels, licence, classes = 256, fashion.LICENCE, fashion.CLASSES
    elif name == "photos16":
        images, mask = photos.read()
        levels, licence = 256, photos.LICENCE
    else:
        images, mask = shapes.read(name)
        levels, licence = 0, shapes.LICENCE
    return _whole(name, images, labels, mask, levels, licence, classes)


def _whole(
    name: str,
    images: np.ndarray,
    labels: np.ndarray | None,
    mask: np.ndarray,
    levels: int,
    licence: str,
    classes: tuple[str, ...] = (),
) -> Dataset:
    return Dataset(
        train=images[~mask],
        heldout=images[mask],
        levels=levels,
        name=name,
        licence=licence,
        checksum=checksum(images),
        labels=None if labels is None else labels[~mask],
        heldout_labels=None if labels is None else labels[mask],
        classes=classes,
    )
