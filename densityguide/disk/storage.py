"""The output folder: local, or in an object store (``gs://bucket/job``). A file is there whole or
not at all.

On a local disk `atomic` sees to that; object stores show an object once it is complete.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from upath import UPath

from densityguide.disk import atomic
from densityguide.disk.files import expanded

__all__ = [
    "StorageError",
    "UnreadableError",
    "folder",
    "is_local",
    "local",
    "read_json",
    "remove",
    "sweep",
    "write",
]
__all__ += ["absolute", "create", "names", "opened", "read", "write_json", "writing"]


# Kind of address -> what can open it.
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs"}
PACKAGES |= {"abfs": "adlfs", "abfss": "adlfs", "hf": "huggingface_hub"}
EXTRAS = {"s3fs": '"densityguide[s3]"', "gcsfs": '"densityguide[gcs]"'}


class StorageError(Exception):
    """The place to write to is full or cannot be written."""


class UnreadableError(StorageError):
    """What lies in a store cannot be read for now: no answer, or no right to."""


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
            # Others write there too: what it held a moment ago is no answer.
            path = UPath(out, use_listings_cache=False)
            occupied = path.is_file()
            with suppress(FileNotFoundError):  # asks what `is_file` may pass over: the credentials
                path.fs.ls(path.path, detail=False)
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
    wanted = EXTRAS.get(package, package)
    return f"{kind}:// addresses need the package {package}: pip install {wanted}"


def is_local(path: UPath) -> bool:
    """Whether ordinary file operations apply."""
    return path.protocol in ("", "file", "local")


def local(path: UPath) -> Path:
    """The same as an ordinary path."""
    return Path(path.path)


def absolute(path: UPath) -> UPath:
    """The same wherever this process goes."""
    return UPath(local(path).absolute()) if is_local(path) else path


@contextmanager
def writing(path: UPath) -> Iterator[None]:
    """Turn the operating system's refusals into `StorageError`; ValueError for a folder in place of
    the file, or a file in place of a folder."""
    try:
        yield
    except IsADirectoryError:
        raise ValueError(f"expected a file, {path} is a folder: move it away") from None
    except (NotADirectoryError, FileExistsError):
        raise ValueError(
            f"cannot write {path}: a file lies where a folder must be, move it away or choose "
            "another place"
        ) from None
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


def write(path: UPath, content: bytes) -> None:
    """One file, whole or not at all; `StorageError` if the system refuses."""
    with writing(path):
        if is_local(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(local(path), content)
            return
        if path.protocol not in PACKAGES:  # object stores have no folders to make
            path.parent.mkdir(parents=True, exist_ok=True)
        path.fs.pipe_file(path.path, content)


def create(path: UPath, content: bytes) -> bool:
    """The file if nothing is there, else False: atomic on a local disk, and on stores that write on
    condition (S3 and Google's do)."""
    with writing(path):
        if is_local(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.fs.pipe_file(path.path, content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno == errno.EINVAL and path.exists():  # as some servers word it
                return False
            raise
        return True


def read(path: UPath) -> bytes:
    """All of it; OSError where there is none, UnreadableError where a store says nothing."""
    if is_local(path):
        with opened(path) as file:
            return file.read()
    with _reading(path):
        return path.fs.cat_file(path.path)


def opened(path: UPath) -> IO[bytes]:
    """The same as a file; what lies in a store is read at once, since a request for every part
    would cost more."""
    if not is_local(path):
        return io.BytesIO(read(path))
    file = local(path)
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise OSError(errno.EINVAL, "is a device or a pipe", str(file))  # it could block for ever
    return file.open("rb")


@contextmanager
def _reading(path: UPath) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise
    except Exception as error:  # each kind of address has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(f"cannot read {path} ({reason:.300})") from None


def names(path: UPath) -> set[str]:
    """The names in a folder, of which stores tell a thousand a request."""
    if is_local(path):
        return {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    try:
        with _reading(path):
            found = path.fs.ls(path.path, detail=False)
    except OSError:
        return set()
    return {name.rstrip("/").rpartition("/")[2] for name in found}


def write_json(path: UPath, value: Any) -> None:
    """Strict JSON."""
    write(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: UPath) -> Any:
    """The value, or None where there is no readable JSON."""
    try:
        return json.loads(read(path))
    except (OSError, ValueError, RecursionError):
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
