"""Files and folders that are written whole or not at all.

They are written in a hidden folder beside their place, synchronised with the disk, and renamed. A
process that is killed leaves the hidden folder, whose name `is_leftover` knows.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["PART", "place", "write"]

PART = ".part"  # how names of unfinished files and folders end


@contextmanager
def place(folder: str | os.PathLike[str], *names: str) -> Iterator[Path]:
    """A hidden folder in which to write files or folders of these names. They move to ``folder`` in
    that order once the block ends without an error; after an error none does.

    A folder replaces a folder of its name. A name that was not written is left out. OSError where
    the system refuses.
    """
    folder = Path(folder)
    hidden = Path(tempfile.mkdtemp(PART, ".", folder))
    try:
        yield hidden
        found = [name for name in names if (hidden / name).exists()]
        for name in found:
            _synchronise(hidden / name)
        for name in found:
            if (hidden / name).is_dir() and (folder / name).is_dir():
                os.replace(folder / name, hidden / f"{name}.old")
            os.replace(hidden / name, folder / name)
        with suppress(OSError):  # not every system lets a folder be opened
            _flush(folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write(path: str | os.PathLike[str], content: bytes | str) -> None:
    """One file; a text as UTF-8."""
    path = Path(path)
    with place(path.parent, path.name) as hidden:
        (hidden / path.name).write_bytes(
            content.encode("utf-8") if isinstance(content, str) else content
        )


def _synchronise(path: Path) -> None:
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if part.is_file():
            _flush(part)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
