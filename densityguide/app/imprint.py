"""What a picture says of itself: text chunks of its PNG file, written and read again.

They hold the program, the command that makes the picture again, the settings, and a record for each
row or frame. Nothing in them is a date: the same command gives the same bytes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, PngImagePlugin

from densityguide import __version__
from densityguide.app.requests import Request
from densityguide.disk.files import expanded, ordinary
from densityguide.disk.folders import MARK

__all__ = ["Imprint", "command", "options", "read", "save"]


class Imprint(NamedTuple):
    """``software`` and its version, the ``command``, ``settings``, and a record for each of
    ``rows``; numbers that are not finite are None."""

    software: str
    command: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]]


def options(request: Request) -> list[str]:
    """The shared options as words, those alone that were typed; the model and the seed always."""
    words = ["--model", request.model, "--seed", str(request.seed)]
    solve = ("count", "steps", "tolerance", "solver", "condition", "probes")
    for name in (*solve, "prompt", "negative", "scale"):
        value = getattr(request, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return words


def command(*words: str) -> str:
    """One line for a shell; bytes that are no text are spelt out."""
    line = shlex.join([MARK, *words])
    return line.encode("utf-8", "backslashreplace").decode("utf-8")


def save(
    picture: Image.Image,
    path: Path,
    made_by: str,
    settings: dict[str, Any],
    rows: Sequence[dict[str, Any]],
) -> None:
    """Write the picture as PNG with all of that inside."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Software", f"{MARK} {__version__}")
    chunks.add_text("Command", made_by)
    chunks.add_text("Settings", json.dumps(settings, allow_nan=False))
    chunks.add_text("Rows", json.dumps(list(rows), allow_nan=False))
    picture.save(path, "PNG", pnginfo=chunks)


def read(path: Path) -> Imprint:
    """ValueError or FileNotFoundError, one line, for anything but such a picture."""
    path = ordinary(expanded(path), "a PNG picture")
    texts = _texts(path)
    if not texts.get("Software", "").startswith(f"{MARK} ") or "Command" not in texts:
        raise ValueError(
            f"{path} does not say how it was made: expected a PNG written by {MARK}, as it was "
            "written (other programs drop the text)"
        )
    settings, rows = _record(path, texts, "Settings"), _record(path, texts, "Rows")
    sound = isinstance(settings, dict) and isinstance(rows, list)
    if not sound or not all(isinstance(row, dict) for row in rows):
        raise _damaged(path, "Settings or Rows")
    return Imprint(texts["Software"], texts["Command"], settings, rows)


def _texts(path: Path) -> dict[str, str]:
    # Pillow refuses chunks that would unpack to many megabytes by a ValueError.
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            return {str(key): str(text) for key, text in picture.info.items() if _is_text(text)}
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ValueError(f"expected a PNG picture, {path} is none, or is damaged") from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _record(path: Path, texts: dict[str, str], name: str) -> Any:
    try:
        return json.loads(texts.get(name, ""))
    except (ValueError, RecursionError):
        raise _damaged(path, name) from None


def _damaged(path: Path, name: str) -> ValueError:
    return ValueError(f"the text {name} in {path} is damaged: draw the picture again")
