"""A folder of pictures, decoded by Pillow, cut to one shape, in memory or file by file.

Every picture is decoded once when the folder is opened: its pixels decide whether it is held out,
and a file that cannot be read is named before anything is trained.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from densityguide.data import pictures
from densityguide.data.split import held_out

__all__ = ["Files", "decode", "read"]


def decode(path: str | os.PathLike[str], shape: Sequence[int]) -> np.ndarray:
    """The picture as uint8 [H, W, C], C = 1 (grey) or 3: the largest centred part of the wanted
    proportions, scaled by Lanczos' filter, on white where it is transparent, and turned as its
    camera says.

    ValueError for a file that is no picture, or one of more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    with pictures.opened(path) as stored:
        if stored.mode[0] in "IF":  # Pillow would clip the values, not scale them
            raise ValueError(f"of mode {stored.mode}, expected 8 bits a channel")
        picture = pictures.seen(stored)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
            picture = Image.alpha_composite(paper, picture)
        picture = picture.convert("L" if channels == 1 else "RGB")
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.uint8).reshape(height, width, channels)


class Files:
    """Pictures [N, H, W, C] that stay on disk: ``files[indices]`` decodes those asked for."""

    dtype = np.dtype(np.uint8)

    def __init__(self, paths: Sequence[Path], shape: Sequence[int]):
        self.paths = tuple(paths)
        self.shape = (len(self.paths), *shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> np.ndarray:
        """uint8 [len(index), H, W, C] for a slice or an array of indices."""
        chosen = np.arange(len(self))[index]
        return np.stack([decode(self.paths[i], self.shape[1:]) for i in chosen])


def _classes(folder: Path, paths: Sequence[Path]) -> np.ndarray | None:
    """Class numbers if all pictures lie in sub-folders of `folder`, in the order of their names."""
    parents = [path.relative_to(folder).parts[0] for path in paths]
    if any(path.parent == folder for path in paths):
        return None
    names = sorted(set(parents))
    return np.asarray([names.index(parent) for parent in parents], np.int32)


def read(folder: str | os.PathLike[str], shape: Sequence[int], memory: float) -> dict[str, Any]:
    """The parts of a `Dataset`: all pictures below `folder`, about 5 % of them held out.

    Sub-folders, if all pictures lie in some, are classes. Beyond `memory` MiB of pixels the
    training part stays on disk as `Files`.

    Raises:
        FileNotFoundError, ValueError: no folder, no pictures in it, one that cannot be decoded, or
            a shape that is not [H, W, 1] or [H, W, 3]. One line each.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ValueError(f"expected a folder of pictures, {folder} is a file")
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder of pictures, {folder} does not exist")
    if len(shape) != 3 or shape[2] not in (1, 3) or min(shape) < 1:
        raise ValueError(
            f"expected shape = [H, W, 1] or [H, W, 3] for the pictures in {folder}, got "
            f"{list(shape) or 'none'}: set it in the configuration, as shape = [32, 32, 3]"
        )
    if math.prod(shape) > pictures.NUMBERS:
        raise ValueError(
            f"expected a shape of at most {pictures.NUMBERS:,} numbers, got {list(shape)}: choose "
            "smaller sides"
        )
    paths = pictures.within(folder, below=True)
    if not paths:
        known = ", ".join(pictures.SUFFIXES)
        raise ValueError(f"expected pictures ({known}) in {folder}, found none")
    keep = len(paths) * int(np.prod(shape)) <= memory * 2**20

    def look(path: Path) -> tuple[bool, bytes, np.ndarray | None]:
        image = decode(path, shape)
        held = held_out(image)
        return held, hashlib.sha256(image.tobytes()).digest(), image if keep or held else None

    with ThreadPoolExecutor() as pool:
        held, digests, images = zip(*pool.map(look, paths), strict=True)
    mask = np.asarray(held)
    if mask.all() or not mask.any():
        raise ValueError(
            f"expected pictures on both sides of the split, {mask.sum()} of the {len(paths)} in "
            f"{folder} fall to the held-out side, which takes 5 % by their pixels: add more"
        )
    train = [i for i in range(len(paths)) if not held[i]]
    labels = _classes(folder, paths)
    return {
        "train": np.stack([images[i] for i in train])
        if keep
        else Files([paths[i] for i in train], shape),
        "heldout": np.stack([image for image, out in zip(images, held, strict=True) if out]),
        "levels": 256,
        "licence": "not stated",
        "checksum": hashlib.sha256(str(tuple(shape)).encode() + b"".join(digests)).hexdigest(),
        "labels": None if labels is None else labels[~mask],
        "heldout_labels": None if labels is None else labels[mask],
    }
