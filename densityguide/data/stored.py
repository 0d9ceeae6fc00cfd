"""Arrays in npy and npz files of others: no pickles, and no more memory than the file can mean."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from densityguide.disk import files

__all__ = ["Array", "heads", "is_archive", "is_plain", "npy", "npz"]

# What NumPy and zipfile raise for damaged files.
DAMAGE: tuple[type[Exception], ...] = (OSError, ValueError, EOFError, AttributeError, TypeError)
DAMAGE += (NotImplementedError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, RuntimeError)
DAMAGE += (SyntaxError, OverflowError, MemoryError, RecursionError, KeyError)
MOST = 4 * 2**30  # bytes of one array that is read whole
ZIP = b"PK"
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Array(NamedTuple):
    """What the head of an array says; ``start`` is where its values begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int

    @property
    def bytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    with path.open("rb"):  # a file that may not be read is not a damaged one
        pass
    try:
        yield
    except _TooLargeError as error:
        raise ValueError(str(error)) from None
    except DAMAGE as error:
        reason = " ".join(str(error).partition(". ")[0].split()) or type(error).__name__
        raise ValueError(f"expected arrays in {path}, it is damaged ({reason:.200})") from None


class _TooLargeError(Exception):
    """A file that is intact, but too large to be read."""


def is_archive(path: Path) -> bool:
    """Whether the file is an npz, whatever its name says; FileNotFoundError without one."""
    with files.ordinary(path, "a file of arrays").open("rb") as file:
        return file.read(2) == ZIP


def is_plain(path: Path) -> bool:
    """Whether the file is a npy, whatever its name says."""
    with path.open("rb") as file:
        return file.read(6) == b"\x93NUMPY"


def npy(path: Path) -> np.ndarray:
    """The array of a npy file, left on disk until it is read."""
    with _damage(path):
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(stored, np.ndarray):
            raise ValueError("it is an archive")
        return stored


def heads(path: Path) -> dict[str, Array]:
    """The arrays of a npz file, of which only the heads are read."""
    found = {}
    with _damage(path), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                head = _head(file)
            if head.start + head.bytes != member.file_size:
                raise ValueError(f"{member.filename} claims {head.bytes / 2**30:.3g} GiB")
            found[member.filename.removesuffix(".npy")] = head
    return found


def npz(path: Path, name: str, rows: int | None = None) -> np.ndarray:
    """One array of a npz file, or its first ``rows`` alone."""
    head = heads(path)[name]
    shape = head.shape
    if rows is not None and shape and not head.fortran:
        shape = (min(rows, shape[0]), *shape[1:])
    size = math.prod(shape) * head.dtype.itemsize
    with _damage(path), zipfile.ZipFile(path) as archive:
        if size > MOST:
            raise _TooLargeError(
                f"expected at most {MOST // 2**30} GiB in one array, {name} in {path} holds "
                f"{size / 2**30:.3g}: save it as .npy, which is read piece by piece"
            )
        known = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        with archive.open(known[name]) as file:
            file.read(head.start)
            content = file.read(size)
            if rows is None or len(content) == head.bytes:
                file.read(1)  # so that the checksum is compared
    return np.frombuffer(bytearray(content), head.dtype).reshape(
        shape, order="F" if head.fortran else "C"
    )


def _head(file: IO[bytes]) -> Array:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not loaded")
    if any(side < 0 for side in shape):
        raise ValueError(f"shape {shape}")
    return Array(shape, fortran, dtype, file.tell())
