"""Files and folders as they are typed: one rule for all commands."""

from __future__ import annotations

import os
import re
from pathlib import Path

import typer

from densityguide.disk.files import expanded

__all__ = ["file", "folder", "source"]

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def source(text: str | os.PathLike[str]) -> Path:
    """What is read: a path with ``~`` expanded; nothing and addresses are refused."""
    name = os.fspath(text)
    if not name.strip():
        raise typer.BadParameter("expected a path, got none: . is this folder")
    if ADDRESS.match(name):
        raise typer.BadParameter(f"expected a path of this machine, got the address {name}")
    if "\0" in name:
        raise typer.BadParameter("expected a path, got one with a null character in it")
    return expanded(name)


def folder(text: str | os.PathLike[str]) -> Path:
    """A folder to write to."""
    return source(text)


def file(text: str | os.PathLike[str]) -> Path:
    """A file to write."""
    name = os.fspath(text)
    if name.endswith(("/", os.sep)):
        raise typer.BadParameter(f"expected a file, {name} is a folder's name: add a file name")
    return source(name)
