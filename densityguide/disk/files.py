"""Files of users: what a path must be before it is opened, and how much of a file may be read into
memory."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

__all__ = ["expanded", "ordinary", "read", "sha256"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with a leading ``~`` as the home folder, which shells leave in ``--out=~/x``."""
    return Path(os.path.expanduser(path))


def ordinary(path: str | os.PathLike[str], what: str) -> Path:
    """The path of a file that can be read to its end; FileNotFoundError or ValueError for nothing,
    a folder, a device or a pipe, which could block or never end."""
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise ValueError(f"expected {what}, {path} is a folder")
    if path.is_symlink():
        raise FileNotFoundError(f"expected {what}, {path} is a link to nothing")
    if path.exists():
        raise ValueError(f"expected {what}, {path} is a device or a pipe")
    raise FileNotFoundError(f"expected {what}, {path} does not exist")


def read(path: str | os.PathLike[str], what: str, most: int) -> bytes:
    """All of an `ordinary` file; ValueError for one of more than ``most`` bytes."""
    path = ordinary(path, what)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"expected {what} of at most {most:,} bytes, {path} is larger")
    return content


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
