"""Signals that end a process: SIGTERM, with which a machine is taken away, and Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

__all__ = ["STOPPED", "Preempted", "Stop", "check", "fatal", "interruptible"]

STOPPED = 75  # EX_TEMPFAIL of sysexits.h


class Preempted(BaseException):
    """Stopped from outside before the end; starting again goes on. Like KeyboardInterrupt it is no
    `Exception`, which many catch."""

    def __init__(self, reason: str = "stopped by SIGTERM") -> None:
        super().__init__(f"{reason}: the same command goes on from here")


@contextmanager
def _handled(
    handler: Callable[[int, Any], None] | signal.Handlers, *numbers: int
) -> Iterator[None]:
    """Give these signals to ``handler`` meanwhile. Only the main thread may set handlers, and only
    it receives signals; in other threads nothing changes."""
    before = {}
    try:
        try:
            for number in numbers:
                before[number] = signal.signal(number, handler)
        except ValueError:
            pass
        yield
    finally:
        for number, old in before.items():
            if old is not None:  # one that Python did not set cannot be set again
                signal.signal(number, old)


_raised: list[BaseException] = []  # by a handler of `interruptible`, since it was entered


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Preempted` when SIGTERM arrives, KeyboardInterrupt at Ctrl-C: between two blocks;
    none is interrupted. The shard in hand is dropped.

    Python drops what a handler raises while a callback of its garbage collector runs, of which JAX
    has one; hence `check`.
    """

    def stop(number: int, frame: Any) -> None:
        _raised[:] = [Preempted() if number == signal.SIGTERM else KeyboardInterrupt()]
        raise _raised[0]

    with _handled(stop, signal.SIGTERM, *_ctrl_c()):
        try:
            yield
        finally:
            _raised.clear()


def check() -> None:
    """Raise again what was dropped on its way; a long loop calls it now and then."""
    if _raised and threading.current_thread() is threading.main_thread():
        raise _raised.pop()


def fatal() -> AbstractContextManager[None]:
    """Let Ctrl-C end the process at once, meanwhile: for a call that Python cannot interrupt."""
    return _handled(signal.SIG_DFL, *_ctrl_c())


def _ctrl_c() -> list[int]:
    """SIGINT, unless somebody else cares for it, or it is ignored, as in the background."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return [signal.SIGINT] if ours else []


class Stop:
    """While it is entered, keeps the first SIGTERM or SIGINT in `signal`, which is None until then,
    so that a loop can save before it ends."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._handled: AbstractContextManager[None] | None = None

    def _note(self, number: int, _: Any) -> None:
        self.signal = number if self.signal is None else self.signal

    def __enter__(self) -> Self:
        self.signal = None
        self._handled = _handled(self._note, signal.SIGTERM, signal.SIGINT)
        self._handled.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        assert self._handled is not None
        self._handled.__exit__(*error)
