"""How a command ends when it was stopped or found no room to write."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from densityguide.app.names import shown
from densityguide.disk.interrupts import STOPPED, Preempted
from densityguide.disk.storage import StorageError, UnreadableError

__all__ = ["UNWRITABLE", "ended"]

T = TypeVar("T")

UNWRITABLE = 74  # EX_IOERR of sysexits.h


def ended(work: Callable[[], T]) -> tuple[int, T | None]:
    """(exit status, what ``work`` returned), with a line on standard error where it did not."""
    try:
        return 0, work()
    except Preempted as stop:
        print(stop, file=sys.stderr)
        return STOPPED, None
    except StorageError as error:
        unread = isinstance(error, UnreadableError)
        advice = "see that it can be read" if unread else "make room or choose another --out"
        print(
            f"error: {shown(error)}: {advice}, then start again; what is finished is kept",
            file=sys.stderr,
        )
        return UNWRITABLE, None
