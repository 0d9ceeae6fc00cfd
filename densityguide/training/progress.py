"""What a person sees of a training run: a bar on a terminal or in a notebook, else JSON lines."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["shown"]


@contextmanager
def shown(
    name: str, parameters: int, start: int, total: int, wanted: bool
) -> Iterator[Callable[..., None]]:
    """``tick(step, line)`` after every step; `line` is the newest record of the log, or None."""
    if not wanted:
        yield lambda step, line=None: None
        return
    from rich.console import Console

    console = Console(stderr=True)
    widgets = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    if not (widgets or (sys.stderr.isatty() and not console.is_jupyter)):
        yield _print
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeLeft(elapsed_when_finished=True),
    )
    console.print(f"{name}: {parameters:,} parameters, steps {start} to {total}", highlight=False)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("compiling", total=total, completed=start, loss="", speed="")

        def tick(step: int, line: dict[str, Any] | None = None) -> None:
            bar.update(task, completed=step, description="training")
            if line is not None:
                speed = f"{line['images_per_second']:.0f} images/s"
                bar.update(task, loss=f"loss {line['loss']:.4f}", speed=speed)

        yield tick


def _print(step: int, line: dict[str, Any] | None = None) -> None:
    if line is not None:
        print(json.dumps(line), flush=True)
