"""What a person sees of a training run: a bar on a terminal or in a notebook, else JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from densityguide import display

__all__ = ["shown"]


@contextmanager
def shown(
    name: str, parameters: int, start: int, total: int, wanted: bool
) -> Iterator[Callable[..., None]]:
    """``tick(step, line)`` after every step; `line` is the newest record of the log, or None."""
    if not wanted:
        yield lambda step, line=None: None
        return
    if not display.is_watched():
        yield _print
        return
    heading = f"{name}: {parameters:,} parameters, steps {start} to {total}"
    with display.bar("compiling", total, start, heading=heading) as update:

        def tick(step: int, line: dict[str, Any] | None = None) -> None:
            update(completed=step, description="training")
            if line is not None:
                speed = f"{line['images_per_second']:.0f} images/s"
                update(note=f"loss {line['loss']:.4f} {speed}")

        yield tick


def _print(step: int, line: dict[str, Any] | None = None) -> None:
    if line is not None:
        print(json.dumps(line), flush=True)
