"""The output folder: local, or in an object store (``gs://bucket/job``). A file is there whole or
not at all.

On a local disk `atomic` sees to that; object stores show an object once it is complete.
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

from densityguide.disk import atomic
from densityguide.disk.files import expanded
from densityguide.disk.locks import held

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


# Kind of address -> what can open it.
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs"}
PACKAGES |= {"abfs": "adlfs", "abfss": "adlfs", "hf": "huggingface_hub"}


class StorageError(Exception):
    """The place to write to is full or cannot be written."""


def folder(out: str | os.PathLike[str]) -> UPath:
    """The folder, not yet made; ValueError for no name, a file or an unknown kind of address."""
    if not str(out):
        raise ValueError("expected a folder or an address for --out, got none: . is this folder")
    try:
        path = UPath(out)
        if is_local(path):
            path = UPath(expanded(local(path)))
            occupied = path.exists() and not path.is_dir()
        else:
            occupied = path.is_file()
    except ImportError as error:
        raise ValueError(_needs(str(out), error)) from None
    except Exception as error:  # each kind of address has errors of its own
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(
            f"expected a folder or an address for --out that can be reached, got "
            f"{out!s:.200} ({reason or type(error).__name__}): check the name, the network and "
            "the credentials"
        ) from None
    if occupied:
        raise ValueError(f"--out must be a folder, {out} is a file: choose another")
    return path


def _needs(out: str, error: ImportError) -> str:
    kind = out.partition("://")[0]
    package = PACKAGES.get(kind)
    if package is None:
        reason = " ".join(str(error).split())
        return f"expected a folder or an address for --out, got {out} ({reason})"
    return f"{kind}:// addresses need the package {package}: pip install {package}"


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
    except FileNotFoundError as error:
        if is_local(path):
            raise StorageError(f"cannot write {path} ({error.strerror})") from None
        reason = " ".join(str(error).split())
        raise ValueError(
            f"cannot write {path} ({reason}): make the bucket first, or correct the address"
        ) from None
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise StorageError(f"cannot write {path} ({reason})") from None
    except (ValueError, StorageError):
        raise
    except Exception as error:  # of the libraries for addresses: no credentials, no answer
        if is_local(path):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(f"cannot write {path} ({reason:.300})") from None


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
        atomic.write(local(path), content)


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
        for left in local(path).glob(f".*{atomic.PART}"):
            with suppress(StorageError):
                remove(UPath(left))
