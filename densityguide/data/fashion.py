"""28x28 grey pictures of clothes, Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, MIT licence).

60,000 to train on and 10,000 held out, ten classes of equal size. They are not shipped but read
from the idx files of Debian's package, or from any folder of the four files, gzipped or not, as
MNIST and its relatives have them. An idx file is a big-endian head (two zeros, type 8 for uint8,
the number of axes, their lengths) and the bytes.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np

__all__ = ["CLASSES", "FOLDER", "LICENCE", "is_idx", "read"]

FOLDER = "/usr/share/datasets/fashion-mnist"
LICENCE = "MIT (Fashion-MNIST, Zalando SE)"
CLASSES: tuple[str, ...] = ("t-shirt", "trouser", "pullover", "dress", "coat")
CLASSES += ("sandal", "shirt", "sneaker", "bag", "ankle boot")
FILES = {"images": "{}-images-idx3-ubyte", "labels": "{}-labels-idx1-ubyte"}


def is_idx(folder: str | os.PathLike[str]) -> bool:
    """Whether the folder holds training images as an idx file."""
    return _file(folder, "train", "images") is not None


def read(folder: str | os.PathLike[str] = FOLDER) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [N, H, W, 1], labels [N] and the held-out mask [N], which is the test part.

    FileNotFoundError without the files, ValueError for damaged ones; one line each.
    """
    images, labels, sizes = [], [], []
    for part in ("train", "t10k"):
        images.append(_array(folder, part, "images", 3)[..., None])
        labels.append(_array(folder, part, "labels", 1).astype(np.int32))
        sizes.append(len(images[-1]))
        if len(labels[-1]) != sizes[-1]:
            raise ValueError(
                f"expected as many labels as images in {folder}, its {part} part has "
                f"{len(labels[-1])} and {sizes[-1]}: fetch it again"
            )
    if images[0].shape[1:] != images[1].shape[1:]:
        raise ValueError(f"expected images of one shape in both parts of {folder}: fetch it again")
    return np.concatenate(images), np.concatenate(labels), np.arange(sum(sizes)) >= sizes[0]


def _file(folder: str | os.PathLike[str], part: str, kind: str) -> Path | None:
    path = Path(folder) / FILES[kind].format(part)
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


def _array(folder: str | os.PathLike[str], part: str, kind: str, axes: int) -> np.ndarray:
    path = _file(folder, part, kind)
    if path is None:
        raise FileNotFoundError(
            f"expected Fashion-MNIST in {folder}, found no {FILES[kind].format(part)}: install "
            "Debian's dataset-fashion-mnist, or give a folder of its four idx files as data"
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        kind_of, *shape = struct.unpack_from(f">{1 + axes}I", content)
        if kind_of != 0x0800 + axes:
            raise ValueError(f"it begins with {kind_of:#x}")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise ValueError(
            f"expected an idx file of bytes with {axes} axes, {path} is damaged ({error}): fetch "
            "it again"
        ) from None
