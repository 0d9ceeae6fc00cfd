"""Samples that a user brings: arrays in .npy and .npz, or pictures, read a block at a time."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from PIL import Image, UnidentifiedImageError

from densityguide.commands.source import Source
from densityguide.data.arrays import DAMAGE

__all__ = ["Inputs", "on_model_scale", "open_inputs", "read_array"]

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
MODES = {1: "L", 3: "RGB"}
FIRST = ("x", "images")  # what `sample` writes: its states, which are exact, before its pictures


@dataclass(frozen=True)
class Inputs:
    """``read(start, stop)`` gives samples [stop - start, *shape]: integers of a picture, or floats
    on the model's own scale."""

    names: Sequence[str]
    integers: bool
    read: Callable[[int, int], np.ndarray]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.names)

    def first(self, count: int | None) -> Inputs:
        """At most so many of them."""
        return self if count is None else dataclasses.replace(self, names=self.names[:count])


def open_inputs(paths: Sequence[Path], array: str | None, loaded: Source) -> Inputs:
    """What the files hold for this model; ValueError or FileNotFoundError, one line, unless every
    sample has the model's shape."""
    if len(paths) == 1 and paths[0].suffix in (".npy", ".npz"):
        return _of_array(read_array(paths[0], array), paths[0], loaded)
    if array is not None:
        raise ValueError("--array belongs to one .npz file: drop it")
    for path in paths:
        if path.suffix in (".npy", ".npz"):
            raise ValueError(f"expected one array file or pictures, got {path} beside others")
    return _of_pictures([file for path in paths for file in _files(path)], loaded)


def read_array(path: Path, name: str | None = None) -> np.ndarray:
    """The array of a .npy file (left on disk until it is read), or one of a .npz file."""
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of arrays, {path} does not exist")
    if name is not None and path.suffix == ".npy":
        raise ValueError("--array belongs to .npz files: drop it")
    with _damage(path):
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(stored, np.ndarray) != (path.suffix == ".npy"):
        found = ".npy" if path.suffix == ".npz" else ".npz"
        raise ValueError(f"expected what its name says in {path}, it is {found}: rename it")
    if path.suffix == ".npy":
        return stored
    with stored:
        chosen = _choose(path, name, stored.files)
        with _damage(path):
            return stored[chosen]


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        reason = str(error).partition(". ")[0]
        raise ValueError(f"expected arrays in {path}, it is damaged ({reason})") from None


def _choose(path: Path, name: str | None, names: list[str]) -> str:
    if name is None:
        known = names if len(names) == 1 else [first for first in FIRST if first in names]
        if known:
            return known[0]
    elif name in names:
        return name
    what = "--array must say which" if name is None else f"it has no array {name!r}"
    raise ValueError(f"{path} holds {', '.join(sorted(names)) or 'nothing'}: {what}")


def _of_array(array: np.ndarray, path: Path, loaded: Source) -> Inputs:
    shape = loaded.flow.shape
    if array.shape[array.ndim - len(shape) :] != shape or array.ndim < len(shape):
        raise ValueError(
            f"{loaded.name} takes [n, {', '.join(map(str, shape))}], {path} holds "
            f"{list(array.shape)}: give the samples one after another, channels last"
        )
    if array.dtype.kind not in "uif":
        raise ValueError(f"expected numbers in {path}, got {array.dtype}")
    rows = array.reshape(-1, *shape)  # leading axes, as of a table of rows, are samples too
    if not len(rows):
        raise ValueError(f"expected at least one sample, {path} holds none")
    integers = array.dtype.kind in "ui"
    _check_transform(integers, loaded, str(path))
    levels = getattr(loaded.flow.transform, "levels", None)

    def read(start: int, stop: int) -> np.ndarray:
        block = np.asarray(rows[start:stop])
        if integers:
            return _within(block, levels, str(path))
        return block.astype(np.float32 if block.itemsize < 4 else block.dtype)

    return Inputs([str(index) for index in range(len(rows))], integers, read)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"expected pictures or arrays, {path} does not exist")
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
    if not found:
        raise ValueError(f"expected pictures in {path}, it has none: give .png files, say")
    return found


def _of_pictures(files: list[Path], loaded: Source) -> Inputs:
    shape = loaded.flow.shape
    if len(shape) != 3 or shape[-1] not in MODES:
        raise ValueError(
            f"{loaded.name} takes arrays {list(shape)}, not pictures: give a .npy or .npz file"
        )
    _check_transform(True, loaded, str(files[0]))
    for file in files:
        _opened(file, shape).close()  # the header alone, so that a wrong file is found at once
    levels = getattr(loaded.flow.transform, "levels", None)

    def read(start: int, stop: int) -> np.ndarray:
        return np.stack([_pixels(file, shape, levels) for file in files[start:stop]])

    return Inputs([str(file) for file in files], True, read)


def _opened(file: Path, shape: tuple[int, ...]) -> Image.Image:
    try:
        image = Image.open(file)
    except (UnidentifiedImageError, OSError):
        raise ValueError(f"expected a picture, {file} cannot be read as one") from None
    problem = None
    if (image.height, image.width) != shape[:2]:
        problem = f"is {image.width} x {image.height} pixels: resize it first"
    elif image.has_transparency_data:
        problem = "is partly transparent: put it on a background first"
    elif image.mode not in ("1", "L", "P", "RGB"):
        problem = f"is of mode {image.mode}: convert it to {MODES[shape[-1]]} first"
    elif shape[-1] == 1 and image.mode not in ("1", "L"):
        problem = "is in colour: convert it to L first"
    if problem:
        image.close()
        wanted = f"{shape[1]} x {shape[0]} {MODES[shape[-1]]}"
        raise ValueError(f"expected pictures of {wanted}, {file} {problem}")
    return image


def _pixels(file: Path, shape: tuple[int, ...], levels: int | None) -> np.ndarray:
    with _opened(file, shape) as image:
        try:
            pixels = np.asarray(image.convert(MODES[shape[-1]]), np.uint8)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"expected a picture, {file} is damaged ({error})") from None
    return _within(pixels.reshape(shape), levels, str(file))


def _check_transform(integers: bool, loaded: Source, where: str) -> None:
    if integers and loaded.flow.transform is None:
        raise ValueError(
            f"{loaded.name} declares no transform of integers, as {where} holds: give a float "
            "array on the model's own scale"
        )


def _within(block: np.ndarray, levels: int | None, where: str) -> np.ndarray:
    if levels is not None and block.size and not 0 <= block.min() <= block.max() < levels:
        raise ValueError(
            f"expected integers from 0 to {levels - 1}, the model's levels, {where} holds "
            f"{block.min()} to {block.max()}"
        )
    return block


def on_model_scale(inputs: Inputs, loaded: Source, keys: jax.Array) -> np.ndarray:
    """All samples as floats: pictures through the model's transform, one key each."""
    block = inputs.read(0, inputs.count)
    if not inputs.integers:
        return block
    return np.asarray(jax.vmap(loaded.flow.transform)(block, keys))
