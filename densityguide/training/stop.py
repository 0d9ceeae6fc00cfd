"""SIGTERM and Ctrl-C, noted, so that the loop can save before it ends."""

from __future__ import annotations

import signal
from typing import Any, Self

__all__ = ["Stop"]


class Stop:
    """While it is entered, keeps the first of these signals in `signal`, which is None until then.
    In threads other than the main one nothing is noted: Python sends them none."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def _note(self, number: int, _: Any) -> None:
        self.signal = number if self.signal is None else self.signal

    def __enter__(self) -> Self:
        self.signal = None
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        except ValueError:
            pass  # only the main thread may set handlers
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # one that Python did not set cannot be set again
                signal.signal(number, handler)
