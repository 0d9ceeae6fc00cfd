"""All shards as one file, written shard by shard: memory holds one of them at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from densityguide.app.jobs import arrays, config
from densityguide.app.jobs.arrays import Layout
from densityguide.app.jobs.view import Results

__all__ = ["FORMATS", "merge"]

FORMATS = ("npz", "zarr")
CHUNK = 1024  # rows of a zarr chunk at most


class _Whole(NamedTuple):
    """One array of the merged file, as pieces in the order of its rows."""

    layout: Layout
    parts: Callable[[], Iterator[np.ndarray]]


def merge(found: Results, path: Path) -> None:
    """Write every array of ``found`` and beside them ``sample``, the number of each row's sample,
    and ``guidance``, what was asked of it, where anything was: as an npz file, or a folder of zarr
    2 arrays if ``path`` ends so. The same results give the same bytes.

    ValueError for a shard that is missing or damaged, OSError where the system refuses.
    """
    wholes = {"sample": _known(found.sample)}
    if isinstance(found.job, config.Sampling) and found.job.guidance.values:
        wholes["guidance"] = _known(found.guidance)
    for name, column in found.items():
        wholes[name] = _Whole(Layout(column.shape, column.dtype), column.parts)
    (_zarr if path.suffix == ".zarr" else _npz)(wholes, path)


def _known(array: np.ndarray) -> _Whole:
    return _Whole(Layout(array.shape, array.dtype), lambda: iter([array]))


def _npz(wholes: dict[str, _Whole], path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
        for name, whole in wholes.items():
            header = {
                "descr": np.lib.format.dtype_to_descr(whole.layout.dtype),
                "fortran_order": False,
                "shape": whole.layout.shape,
            }
            # ZipInfo's date is 1980 whenever it is written, as NumPy's own.
            with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for part in whole.parts():
                    member.write(np.ascontiguousarray(part).tobytes())


def _zarr(wholes: dict[str, _Whole], path: Path) -> None:
    path.mkdir()
    for name, whole in wholes.items():
        rows, *rest = whole.layout.shape
        size = min(rows, CHUNK)
        stored = arrays.create(path / name, whole.layout, [size, *rest])
        first = 0
        # Whole chunks at a time: each is compressed and written once.
        for part in _rows(whole.parts(), size):
            stored[first : first + len(part)].write(part).result()
            first += len(part)
    (path / ".zgroup").write_text('{"zarr_format": 2}\n')


def _rows(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows in pieces of ``size``."""
    held: list[Any] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= size:
            whole = np.concatenate(held)
            full = count - count % size
            yield from (whole[start : start + size] for start in range(0, full, size))
            held, count = [whole[full:]], count - full
    if count:
        yield np.concatenate(held)
