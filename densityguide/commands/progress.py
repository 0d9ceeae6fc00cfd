"""A progress bar on a terminal and in a notebook; silent in pipes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["bar"]


@contextmanager
def bar(text: str, *, first: str = "compiling") -> Iterator[Callable[[int], Callable[[], None]]]:
    """``begin(total) -> tick``: a bar named ``first`` appears at once; ``begin`` gives it ``text``
    and its length."""
    console = Console(stderr=True)
    # In a notebook rich draws by way of ipywidgets, and warns at each stroke without them.
    notebook = console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not (sys.stderr.isatty() or notebook),
    )
    with shown:
        task = shown.add_task(first, total=None)

        def begin(total: int) -> Callable[[], None]:
            shown.update(task, description=text, total=total, completed=0)
            return lambda: shown.advance(task)

        yield begin
