"""Output folders: checked before any work, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from densityguide.disk import atomic
from densityguide.disk.locks import is_leftover

__all__ = ["MARK", "check", "check_file", "holds", "write", "write_json", "write_npz"]

MARK = "densityguide"
REPORT = "report.json"


def _ours(folder: Path) -> bool:
    try:
        return json.loads((folder / REPORT).read_text("utf-8"))["program"] == MARK
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check(folder: Path, *, ours: Callable[[Path], bool] = _ours) -> Path:
    """Raise ValueError unless ``folder`` can be written without harm.

    It may be new, empty, or one that this program wrote; other people's files are left alone.
    Nothing is left behind by the check.
    """
    with _named(folder):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"--out must be a folder, {folder} is a file: choose another --out")
    with _missing_folders(folder), _writable(folder):
        if not all(is_leftover(entry.name) for entry in folder.iterdir()) and not ours(folder):
            raise ValueError(
                f"{folder} holds files that densityguide did not write: "
                "choose another --out, or an empty folder"
            )
    return folder


def check_file(path: Path, *, ours: Callable[[Path], bool], option: str = "--out") -> Path:
    """The same for one file, which ``option`` names."""
    with _named(path, option):
        if path.is_dir():
            raise ValueError(f"{option} must be a file, {path} is a folder: add a file name")
        there = path.exists()
    if there and not path.is_file():
        raise ValueError(f"{option} must be a file, {path} is a device or a pipe: choose another")
    if there and not ours(path):
        raise ValueError(
            f"{path} exists and densityguide did not write it: choose another {option}"
        )
    with _missing_folders(path.parent, option=option), _writable(path.parent, option):
        pass
    return path


def holds(*names: str) -> Callable[[Path], bool]:
    """Whether a file is an npz with at least these arrays, as one that this program wrote."""

    def ours(path: Path) -> bool:
        try:
            with zipfile.ZipFile(path) as stored:
                return {f"{name}.npy" for name in names} <= set(stored.namelist())
        except (OSError, zipfile.BadZipFile):
            return False

    return ours


@contextlib.contextmanager
def _named(path: Path, option: str = "--out") -> Iterator[None]:
    """Refuse a path that may not be looked at, or whose name is too long."""
    try:
        yield
    except OSError as error:
        raise _refused(path, error, option) from None


@contextlib.contextmanager
def _writable(folder: Path, option: str = "--out") -> Iterator[None]:
    # Asking the file system is the only test that holds for read-only mounts and for root.
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _refused(folder, error, option) from None
    yield


def _refused(folder: Path, error: OSError, option: str = "--out") -> ValueError:
    return ValueError(
        f"cannot write to {folder!s:.300} ({error.strerror}): choose another {option}"
    )


@contextlib.contextmanager
def _missing_folders(folder: Path, *, keep: bool = False, option: str = "--out") -> Iterator[None]:
    """Make ``folder`` and its parents, and remove the new ones unless all went well."""
    made = []
    try:
        for part in reversed([folder, *folder.parents]):
            if not part.exists():
                part.mkdir()
                made.append(part)
    except OSError as error:
        _remove(made)
        raise _refused(folder, error, option) from None
    try:
        yield
    except BaseException:
        _remove(made)
        raise
    if not keep:
        _remove(made)


def _remove(folders: list[Path]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _earlier(folder: Path) -> set[str]:
    """What an earlier run says that it wrote here."""
    if not _ours(folder):
        return set()
    told = json.loads((folder / REPORT).read_text("utf-8")).get("files")
    names = told if isinstance(told, list) else []
    return {name for name in names if isinstance(name, str) and Path(name).name == name}


def write(folder: Path, files: Mapping[str, Callable[[Path], object]]) -> list[Path]:
    """Write all the files or none, and return their paths. ``files`` maps a name to a function that
    writes the given path.

    Where a report is among them it replaces an earlier one, and whatever that lists as its
    ``files`` and this run does not write is removed: it would be taken for a part of the new run.
    """
    stale = _earlier(folder) - set(files) if REPORT in files else set()
    with _missing_folders(folder, keep=True):
        try:
            with atomic.place(folder, *files) as hidden:
                for name, save in files.items():
                    save(hidden / name)
        except OSError as error:
            raise _refused(folder, error) from None
    for name in stale:
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    return [folder / name for name in files]


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Readable strict JSON."""
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", "utf-8")


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed npz without times inside: the same arrays give the same bytes."""
    with open(path, "wb") as file:
        save: Callable[..., None] = np.savez_compressed
        save(file, **arrays)
