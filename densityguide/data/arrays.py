"""Data of one's own as an npz file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from densityguide.data import stored
from densityguide.data.split import held_out
from densityguide.disk import files

__all__ = ["read"]

NO_NAME = "it is one array without a name, .npy"
HELP = "save uint8 images [N, H, W, C] or float32 points [N, D] as array 'images'"


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The parts of a `Dataset` in an npz file.

    Either `images` (and `labels`), of which about 5 % are held out by their bytes, or `train` and
    `heldout` (and `labels`, `heldout_labels`), as ``densityguide data`` writes them; if wanted
    `levels` (of uint8 images; 256) and `licence`.

    Raises:
        FileNotFoundError, ValueError: no such file; one that is damaged, pickled, or holds arrays
            of another type or shape. One line each.
    """
    path = files.ordinary(path, "a data file")
    try:
        if path.stat().st_size and not stored.is_archive(path):
            raise ValueError(NO_NAME if stored.is_plain(path) else "it is no archive")
        values = {name: stored.npz(path, name) for name in stored.heads(path)}
    except ValueError as error:
        raise ValueError(
            f"expected an npz file of plain arrays, {path} is none ({error}): {HELP}"
        ) from None
    if "images" in values:
        images = _checked(values["images"], "images", path)
        labels = _labels(values.get("labels"), "labels", images, path)
        mask = np.fromiter((held_out(image) for image in images), bool, len(images))
        parts = {"train": images[~mask], "heldout": images[mask]}
        if labels is not None:
            parts |= {"labels": labels[~mask], "heldout_labels": labels[mask]}
    elif {"train", "heldout"} <= set(values):
        parts = {name: _checked(values[name], name, path) for name in ("train", "heldout")}
        if any(parts["train"].shape[1:] != a.shape[1:] for a in parts.values()):
            raise ValueError(f"expected train and heldout of one shape in {path}: {HELP}")
        for name, of in (("labels", "train"), ("heldout_labels", "heldout")):
            parts[name] = _labels(values.get(name), name, parts[of], path)
        images = np.concatenate([parts["train"], parts["heldout"]])
    else:
        found = ", ".join(values) or "nothing"
        raise ValueError(
            f"expected the array images, or train and heldout, in {path}, found {found}: {HELP}"
        )
    if not (len(parts["train"]) and len(parts["heldout"])):
        raise ValueError(
            f"expected images on both sides of the split, {path} has {len(parts['train'])} to "
            f"train on and {len(parts['heldout'])} held out: give more, or train and heldout"
        )
    return parts | {"levels": _levels(values, images, path), "licence": _licence(values)}


def _checked(images: np.ndarray, name: str, path: Path) -> np.ndarray:
    pictures = images.dtype == np.uint8 and images.ndim == 4
    points = images.dtype == np.float32 and images.ndim == 2
    if not (pictures or points) or 0 in images.shape[1:]:
        raise ValueError(f"got {name} {images.dtype} {list(images.shape)} in {path}: {HELP}")
    if points and not np.isfinite(images).all():
        raise ValueError(f"expected finite points, {name} in {path} has others: remove them")
    return images


def _labels(
    labels: np.ndarray | None, name: str, images: np.ndarray, path: Path
) -> np.ndarray | None:
    if labels is None:
        return None
    whole = np.issubdtype(labels.dtype, np.integer) and labels.shape == (len(images),)
    if not whole or (len(labels) and not 0 <= labels.min() <= labels.max() < 2**31):
        raise ValueError(
            f"expected {name} as {len(images)} integers from 0 in {path}, got "
            f"{labels.dtype} {list(labels.shape)}: one class number an image"
        )
    return labels.astype(np.int32)


def _levels(values: dict[str, np.ndarray], images: np.ndarray, path: Path) -> int:
    if images.dtype != np.uint8:
        return 0
    stored = values.get("levels", np.asarray(256))
    if stored.shape != () or not np.issubdtype(stored.dtype, np.integer):
        raise ValueError(f"expected levels as one integer in {path}, got {stored.dtype}")
    levels, largest = int(stored), int(images.max())
    if not max(largest + 1, 2) <= levels <= 256:
        raise ValueError(
            f"expected levels from {max(largest + 1, 2)} to 256 for values up to {largest} in "
            f"{path}, got {levels}: values run from 0 to levels - 1"
        )
    return levels


def _licence(values: dict[str, np.ndarray]) -> str:
    return str(values["licence"]) if "licence" in values else "not stated"
