"""How a command ends that was stopped, or found no room to write."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from densityguide.jobs.preemption import STOPPED, Preempted
from densityguide.jobs.storage import StorageError

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
        print(
            f"error: {error}: make room or choose another --out, then start again; what is "
            "finished is kept",
            file=sys.stderr,
        )
        return UNWRITABLE, None
