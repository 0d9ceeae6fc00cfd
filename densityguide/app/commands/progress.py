"""The progress bar of a command; silent in pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from densityguide import display

__all__ = ["bar"]


@contextmanager
def bar(text: str, *, first: str = "compiling") -> Iterator[Callable[[int], Callable[[], None]]]:
    """``begin(total) -> tick``: a bar named ``first`` appears at once; ``begin`` gives it ``text``
    and its length."""
    with display.bar(first, left=False) as update:

        def begin(total: int) -> Callable[[], None]:
            update(description=text, total=total, completed=0)
            return lambda: update(advance=1)

        yield begin
