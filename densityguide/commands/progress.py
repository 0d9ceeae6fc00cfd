"""A progress bar on a terminal; silent in pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["bar"]


@contextmanager
def bar(text: str) -> Iterator[Callable[[int], Callable[[], None]]]:
    """``begin(total) -> tick``: a bar appears at once and gets its length from ``begin``."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with shown:
        task = shown.add_task("compiling", total=None)

        def begin(total: int) -> Callable[[], None]:
            shown.update(task, description=text, total=total, completed=0)
            return lambda: shown.advance(task)

        yield begin
