"""SIGTERM, with which a machine is taken away, as an exception in the main thread."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["STOPPED", "Preempted", "interruptible"]

STOPPED = 75  # EX_TEMPFAIL of sysexits.h


class Preempted(BaseException):
    """Stopped from outside before the end; starting again goes on. Like KeyboardInterrupt it is no
    `Exception`, which many catch."""

    def __init__(self) -> None:
        super().__init__("stopped by SIGTERM: the same command goes on from here")


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Preempted` when SIGTERM arrives: between two blocks, since a block is not interrupted.
    The shard in hand is dropped."""

    def stop(number: int, frame: Any) -> None:
        raise Preempted

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # only the main thread may set handlers
        yield
        return
    try:
        yield
    finally:
        if before is not None:  # one that Python did not set cannot be set again
            signal.signal(signal.SIGTERM, before)
