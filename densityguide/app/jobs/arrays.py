"""Arrays of one shard as a file: npz, or a zarr group written by tensorstore. The same arrays give
the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from upath import UPath

from densityguide.disk import atomic, storage

__all__ = ["DAMAGED", "Layout", "check", "create", "digest", "layout", "read", "write"]

# What reading may raise for a file that is missing, cut short or altered.
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Layout(NamedTuple):
    """Of one array, known without reading it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def check(suffix: str) -> None:
    """ValueError where a library is missing for the format."""
    if suffix == "zarr":
        _tensorstore()


def write(path: UPath, arrays: dict[str, np.ndarray]) -> str:
    """Write the arrays, whole or not at all; returns their digest."""
    if path.suffix == ".zarr":
        return _write_zarr(path, arrays)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    storage.write(path, buffer.getvalue())
    return _sha256({"": buffer.getvalue()})


def layout(path: UPath) -> dict[str, Layout]:
    """What is in the file, from its headers alone; ValueError, KeyError, OSError or
    zipfile.BadZipFile for a damaged one."""
    if path.suffix == ".zarr":
        headers = {entry.parent.name: entry.read_bytes() for entry in path.glob("*/.zarray")}
        read = {name: json.loads(headers[name]) for name in sorted(headers)}
        return {
            name: Layout(tuple(found["shape"]), np.dtype(found["dtype"]))
            for name, found in read.items()
        }
    # Of what lies in a store only this part is fetched.
    opened = storage.opened(path) if storage.is_local(path) else path.open("rb")
    with opened as file, zipfile.ZipFile(file) as stored:
        return {name.removesuffix(".npy"): _npy_layout(stored, name) for name in stored.namelist()}


def _npy_layout(stored: zipfile.ZipFile, name: str) -> Layout:
    with stored.open(name) as member:
        known = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = known[np.lib.format.read_magic(member)[0]](member)
    return Layout(shape, dtype)


def read(path: UPath, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays, and nothing else of the file."""
    if path.suffix == ".zarr":
        with _on_disk(path, names) as local:
            return {name: _open(local / name).read().result() for name in names}
    with storage.opened(path) as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in names}


def digest(path: UPath) -> str | None:
    """SHA-256 of the file, or of all names and files of the group; None where there is none."""
    try:
        if path.suffix == ".zarr":
            return _sha256(_files(path)) if path.is_dir() else None
        return _sha256({"": storage.read(path)})
    except OSError:
        return None


def _files(group: UPath) -> dict[str, bytes]:
    parts = [part for part in group.rglob("*") if part.is_file()]
    return {str(part.relative_to(group)): storage.read(part) for part in parts}


def _sha256(files: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\n{len(files[name])}\n".encode())
        total.update(files[name])
    return total.hexdigest()


def _tensorstore() -> Any:
    try:
        import tensorstore
    except ImportError:
        raise ValueError(
            'output.format zarr needs tensorstore: pip install "densityguide[train]", or set npz'
        ) from None
    return tensorstore


def _spec(path: Path) -> dict[str, Any]:
    return {"driver": "zarr", "kvstore": {"driver": "file", "path": str(path)}}


def _open(path: Path) -> Any:
    return _tensorstore().open(_spec(path)).result()


def create(path: Path, like: Layout, chunks: Sequence[int]) -> Any:
    """A new zarr array, open for writing; 0 chunks are the array of no axis."""
    layout = {"chunks": list(chunks) or None, "compressor": {"id": "zlib", "level": 1}}
    options = {"create": True, "dtype": like.dtype, "shape": like.shape}
    return _tensorstore().open(_spec(path) | {"metadata": layout}, **options).result()


def _write_zarr(path: UPath, arrays: dict[str, np.ndarray]) -> str:
    with storage.writing(path):
        if storage.is_local(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic.place(storage.local(path.parent), path.name) as hidden:
                return _sha256(_fill(hidden / path.name, arrays))
        with tempfile.TemporaryDirectory() as made:
            files = _fill(Path(made), arrays)
        storage.remove(path)
        for name, content in files.items():
            storage.write(path / name, content)
    return _sha256(files)


def _fill(group: Path, arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    group.mkdir(exist_ok=True)
    for name, array in arrays.items():
        # One chunk: a shard is small enough for memory.
        stored = create(group / name, Layout(array.shape, array.dtype), array.shape)
        stored.write(array).result()
    (group / ".zgroup").write_text('{"zarr_format": 2}\n')
    return _files(UPath(group))


@contextmanager
def _on_disk(path: UPath, arrays: Sequence[str]) -> Iterator[Path]:
    """tensorstore reads what lies on a disk; of what does not, these arrays are copied there."""
    if storage.is_local(path):
        yield storage.local(path)
        return
    with tempfile.TemporaryDirectory() as made:
        for array in arrays:
            for name, content in _files(path / array).items():
                target = Path(made) / array / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        yield Path(made)
