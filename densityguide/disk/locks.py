"""A folder that one process at a time may write (by filelock), and what writers leave there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from densityguide.disk.atomic import PART

__all__ = ["LOCK", "held", "is_leftover"]

LOCK = ".lock"  # stays when the lock is released: removing it could let two others in


def is_leftover(name: str) -> bool:
    """Whether a file is nobody's: a lock, or what a write that was killed left."""
    return name == LOCK or (name.startswith(".") and name.endswith(PART))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder, made if need be. The lock is the kernel's, so it ends with the process.

    ValueError when another process holds it, OSError where the system refuses.
    """
    file = folder / LOCK
    if file.is_dir():
        raise ValueError(f"expected {file} to be the lock of a run, it is a folder: move it away")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another run is at work in {folder}: wait until it ends, or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()
