"""Progress bars for long work, on a terminal or in a notebook, drawn by rich."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Left

__all__ = ["bar", "is_watched"]

Update = Callable[..., None]


def is_watched() -> bool:
    """Whether somebody looks: standard error is a terminal, or a notebook that can draw. In a
    notebook rich draws through ipywidgets, and warns at each update without them."""
    if Console(stderr=True).is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return sys.stderr.isatty()


@contextmanager
def bar(
    text: str,
    total: int | None = None,
    done: int = 0,
    *,
    heading: str = "",
    left: bool = True,
) -> Iterator[Update]:
    """A bar on standard error, nothing where nobody looks.

    ``update(advance=1)``, ``update(completed=3)``, ``update(description="training", total=9)`` and
    ``update(note="loss 0.25")`` change it. With ``left`` the bar shows the time left and stays,
    which suits hours of work; otherwise it shows the time spent and goes when the work is done.
    """
    console = Console(stderr=True)
    watched = is_watched()
    if heading and watched:
        console.print(heading, highlight=False, markup=False)
    # Names may hold square brackets, which rich would read as markup.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        Left(elapsed_when_finished=True) if left else Elapsed(),
    )
    with Progress(
        *columns,
        console=console,
        transient=not left,
        disable=not watched,
        speed_estimate_period=600.0,
    ) as shown:
        task = shown.add_task(text, total=total, completed=done, note="")

        def update(**changes: Any) -> None:
            shown.update(task, **changes)

        yield update
