"""What computes the shards of a job in place of this process.

An engine gets the folder, whose manifest says what the job is, and the numbers of the shards that
are wanted; it knows nothing of what they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from upath import UPath

__all__ = ["Done", "Engine"]


class Done(NamedTuple):
    """A shard that lies in the folder: its ``record``, the ``environment`` that computed it, and
    how many ``seconds`` that took."""

    record: dict[str, Any]
    environment: dict[str, str]
    seconds: float


Engine = Callable[[UPath, Sequence[int]], Iterator[Done]]
