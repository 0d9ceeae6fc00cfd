"""Arrays of one shard as a file: npz, or a zarr group written by tensorstore. The same arrays give
the same bytes."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from densityguide.disk import atomic, storage

__all__ = ["DAMAGED", "check", "digest", "read", "write"]

# What reading may raise for a file that is missing, cut short or altered.
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


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


def read(path: UPath, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays."""
    if path.suffix == ".zarr":
        with _on_disk(path) as local:
            return {name: _open(local / name).read().result() for name in names}
    with _opened(path) as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in names}


def _opened(path: UPath) -> Any:
    """From a store all at once: a request for every array would cost more."""
    return path.open("rb") if storage.is_local(path) else io.BytesIO(storage.read(path))


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


def _open(path: Path, array: np.ndarray | None = None) -> Any:
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(path)}}
    if array is None:
        return _tensorstore().open(spec).result()
    # One chunk: a shard is small enough for memory.
    layout = {"chunks": list(array.shape) or None, "compressor": {"id": "zlib", "level": 1}}
    options = {"create": True, "dtype": array.dtype, "shape": array.shape}
    return _tensorstore().open(spec | {"metadata": layout}, **options).result()


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
        _open(group / name, array).write(array).result()
    (group / ".zgroup").write_text('{"zarr_format": 2}\n')
    return _files(UPath(group))


@contextmanager
def _on_disk(path: UPath) -> Iterator[Path]:
    """tensorstore reads what lies on a disk; what does not is copied there."""
    if storage.is_local(path):
        yield storage.local(path)
        return
    with tempfile.TemporaryDirectory() as made:
        for name, content in _files(path).items():
            target = Path(made) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        yield Path(made)
