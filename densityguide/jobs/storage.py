"""The output folder: local, or in an object store (``gs://bucket/job``). A file is there whole or
not at all.

Locally a file is written under another name, synchronised and renamed. Object stores show an object
once it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from upath import UPath

from densityguide.errors import StorageError
from densityguide.locks import PART, held

__all__ = [
    "StorageError",
    "folder",
    "is_local",
    "local",
    "locked",
    "read_json",
    "remove",
    "sweep",
    "write",
]
__all__ += ["write_json", "writing"]


def folder(out: str | os.PathLike[str]) -> UPath:
    """The folder, not yet made; ValueError for no name, a file or an unknown kind of address."""
    if not str(out):
        raise ValueError("expected a folder or an address for --out, got none: . is this folder")
    try:
        path = UPath(out)
        occupied = path.is_file()
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"expected a folder or an address for --out, got {out}: {reason}"
        ) from None
    if occupied:
        raise ValueError(f"--out must be a folder, {out} is a file: choose another")
    return path


def is_local(path: UPath) -> bool:
    """Whether ordinary file operations apply."""
    return path.protocol in ("", "file", "local")


def local(path: UPath) -> Path:
    """The same as an ordinary path."""
    return Path(path.path)


@contextmanager
def writing(path: UPath) -> Iterator[None]:
    """Turn the operating system's refusals into `StorageError`; ValueError for a folder in place of
    the file."""
    try:
        yield
    except IsADirectoryError:
        raise ValueError(f"expected a file, {path} is a folder: move it away") from None
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise StorageError(f"cannot write {path} ({reason})") from None


@contextmanager
def locked(path: UPath) -> Iterator[None]:
    """Hold the folder as `locks.held` does; object stores have no locks."""
    with ExitStack() as stack:
        if is_local(path):
            with writing(path):
                stack.enter_context(held(local(path)))
        yield


def write(path: UPath, content: bytes) -> None:
    """One file, whole or not at all; `StorageError` if the system refuses."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_local(path):
            path.write_bytes(content)
            return
        part = local(path).with_name(f".{path.name}.{os.getpid()}{PART}")
        try:
            with open(part, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, local(path))
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def write_json(path: UPath, value: Any) -> None:
    """Strict JSON."""
    write(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: UPath) -> Any:
    """The value, or None where there is no readable JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def remove(path: UPath) -> None:
    """The file or folder, if it is there; `StorageError` if the system refuses."""
    with writing(path):
        if is_local(path) and path.is_dir():
            shutil.rmtree(local(path))
        elif path.is_dir():
            path.rmdir(recursive=True)
        else:
            path.unlink(missing_ok=True)


def sweep(path: UPath) -> None:
    """Remove what killed processes left half-written in the folder."""
    if is_local(path) and path.is_dir():
        for left in local(path).glob(f".*{PART}"):
            with suppress(StorageError):
                remove(UPath(left))
