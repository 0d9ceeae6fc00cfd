"""Samples that a user brings: arrays in .npy and .npz, or pictures, read a block at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.app.source import Source
from densityguide.data import pictures, stored
from densityguide.disk import files

__all__ = ["Inputs", "files_of", "is_array", "on_model_scale", "open_inputs", "read_array"]

MODES = {1: "L", 3: "RGB"}
COLOURS = {1: "grey", 3: "colour"}
FIRST = ("x", "images")  # what `sample` writes: its states, which are exact, before its pictures
WHOLE = 2**22  # numbers looked at in one go


class _Numbers(Sequence[str]):
    """``"0"``, ``"1"`` and so on, made when asked for: an array may have millions of rows."""

    def __init__(self, numbers: range):
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> _Numbers: ...
    def __getitem__(self, index: int | slice) -> str | _Numbers:
        found = self.numbers[index]
        return _Numbers(found) if isinstance(found, range) else str(found)


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


def open_inputs(
    paths: Sequence[Path], array: str | None, loaded: Source, count: int | None = None
) -> Inputs:
    """What the files hold for this model, the first ``count`` of it; ValueError or
    FileNotFoundError, one line, unless every sample has the model's shape and is finite."""
    if len(paths) == 1 and is_array(paths[0]):
        shape = loaded.flow.shape
        found = _of_array(read_array(paths[0], array, shape, count), paths[0], loaded).first(count)
        if not found.integers:
            _check_finite(found, paths[0])
    else:
        if array is not None:
            raise ValueError("--array belongs to one .npz file: drop it")
        for path in paths:
            if is_array(path):
                raise ValueError(f"expected one array file or pictures, got {path} beside others")
        found = _of_pictures([file for path in paths for file in files_of(path)], loaded).first(
            count
        )
    if count is not None and found.count < count:
        raise ValueError(f"expected at least --count {count} samples, there are {found.count}")
    return found


def is_array(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".npz")


def read_array(
    path: Path,
    name: str | None = None,
    shape: tuple[int, ...] = (),
    rows: int | None = None,
) -> np.ndarray:
    """The array of a .npy file (left on disk until it is read), or one of a .npz file, of which
    only the first ``rows`` are read; without its ``name`` the one that could be samples of
    ``shape``."""
    suffix = path.suffix.lower()
    archive = stored.is_archive(path)
    if name is not None and suffix == ".npy":
        raise ValueError("--array belongs to .npz files: drop it")
    if archive != (suffix == ".npz") and (archive or stored.is_plain(path)):
        found = ".npz" if archive else ".npy"
        raise ValueError(f"expected what its name says in {path}, it is {found}: rename it")
    if suffix == ".npy":
        return stored.npy(path)
    heads = stored.heads(path)
    chosen = _choose(path, name, heads, shape)
    table = len(heads[chosen].shape) == 1 + len(shape)  # else rows are not samples
    return stored.npz(path, chosen, rows if table else None)


def _choose(
    path: Path, name: str | None, heads: dict[str, stored.Array], shape: tuple[int, ...]
) -> str:
    names = sorted(heads)
    if name is not None:
        if name in heads:
            return name
        raise ValueError(f"{path} holds {', '.join(names) or 'nothing'}: it has no array {name!r}")
    known = names if len(names) == 1 else [first for first in FIRST if first in names]
    fitting = [one for one in names if _fits(heads[one], shape)]
    if known:
        return known[0]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(fitting or names) or "nothing"
    raise ValueError(
        f"{path} holds {listed}: --array must say which"
        + (f", as --array {fitting[0]}" if fitting else "")
    )


def _fits(head: stored.Array, shape: tuple[int, ...]) -> bool:
    """Whether these could be samples of the shape."""
    behind = head.shape[len(head.shape) - len(shape) :]
    return head.dtype.kind in "uif" and len(head.shape) > len(shape) and behind == shape


def _of_array(array: np.ndarray, path: Path, loaded: Source) -> Inputs:
    shape = loaded.flow.shape
    if array.shape[array.ndim - len(shape) :] != shape or array.ndim < len(shape):
        raise ValueError(
            f"{loaded.name} takes [n, {', '.join(map(str, shape))}], {path} holds "
            f"{list(array.shape)}: give the samples one after another, channels last"
        )
    if array.dtype.kind not in "uif":
        raise ValueError(f"expected numbers in {path}, got {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        raise ValueError(f"expected float16, float32 or float64 in {path}, got {array.dtype}")
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
        with np.errstate(over="ignore"):  # what overflows is refused
            return block.astype(jnp.result_type(float))

    return Inputs(_Numbers(range(len(rows))), integers, read)


def _check_finite(given: Inputs, path: Path) -> None:
    at_once = max(1, WHOLE // max(1, math.prod(given.read(0, 1).shape)))
    for start in range(0, given.count, at_once):
        block = given.read(start, min(start + at_once, given.count))
        wrong = ~np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if wrong.any():
            row = start + int(np.argmax(wrong))
            raise ValueError(
                f"{path} holds values that are not finite at row {row}: remove that row"
            )


def files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [files.ordinary(path, "pictures or arrays")]
    found = pictures.within(path)
    if not found:
        raise ValueError(f"expected pictures in {path}, it has none: give .png files, say")
    return found


def _of_pictures(paths: list[Path], loaded: Source) -> Inputs:
    shape = loaded.flow.shape
    if len(shape) != 3 or shape[-1] not in MODES:
        raise ValueError(
            f"{loaded.name} takes arrays {list(shape)}, not pictures: give a .npy or .npz file"
        )
    _check_transform(True, loaded, str(paths[0]))
    for path in paths:  # the head alone, so that a wrong file is found at once
        with pictures.opened(path) as picture:
            problem = _problem(picture, path, shape)
        if problem:
            wanted = f"{COLOURS[shape[-1]]} pictures of {shape[1]} x {shape[0]}"
            raise ValueError(f"expected {wanted}, {path} {problem}")
    levels = getattr(loaded.flow.transform, "levels", None)

    def read(start: int, stop: int) -> np.ndarray:
        return np.stack([_pixels(path, shape, levels) for path in paths[start:stop]])

    return Inputs([str(path) for path in paths], True, read)


def _problem(picture: Any, path: Path, shape: tuple[int, ...]) -> str | None:
    """What is wrong with a picture for this shape, and what to do."""
    height, width = pictures.size(picture)
    if (height, width) != shape[:2]:
        sides = "x".join(map(str, shape))
        return (
            f"is {width} x {height} pixels: resize it first (densityguide data images "
            f"{path.parent} --shape {sides} --out all.npz cuts and scales a whole folder, as "
            "training does; then density all.npz --array heldout)"
        )
    if picture.has_transparency_data:
        return "is partly transparent: put it on a background first"
    if picture.mode not in ("1", "L", "P", "RGB"):
        return f"is of mode {picture.mode}: convert it to 8-bit {COLOURS[shape[-1]]} first"
    if shape[-1] == 1 and picture.mode not in ("1", "L"):
        return "is in colour: convert it to grey first"
    return None


def _pixels(path: Path, shape: tuple[int, ...], levels: int | None) -> np.ndarray:
    with pictures.opened(path) as picture:
        turned = pictures.seen(picture)
        pixels = np.asarray(turned.convert(MODES[shape[-1]]), np.uint8).reshape(shape)
    return _within(pixels, levels, str(path))


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
