"""Batches read ahead by grain, for data that does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["ahead"]


def ahead(
    read: Callable[[int], Any], start: int, stop: int, *, threads: int = 8, buffer: int = 8
) -> Iterator[Any]:
    """``read(step)`` for every step from `start` to `stop` in order, some of them beforehand in
    `threads` threads. What a step reads depends on the step alone, so a run may begin anywhere."""
    import grain

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffer)
    steps = grain.MapDataset.range(start, stop).map(read)
    return iter(steps.to_iter_dataset(options))
