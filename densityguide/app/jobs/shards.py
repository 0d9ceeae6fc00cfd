"""Numbered shards: which samples each holds, which are done, and how one is written.

A shard is a file of arrays and a record beside it, written last: it counts once the record is there
and the file is what the record says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from upath import UPath

from densityguide.app.jobs import arrays
from densityguide.disk import storage
from densityguide.solve import Status

__all__ = ["READERS", "Plan", "Shard"]

READERS = 8  # shards that are read at the same time
FAILED = Status.NON_FINITE | Status.MAX_STEPS | Status.INVALID


class Shard(NamedTuple):
    """Samples start .. stop - 1."""

    number: int
    start: int
    stop: int


class Plan(NamedTuple):
    """``samples`` samples in shards of ``size``, in ``folder`` as files of one format."""

    folder: UPath
    samples: int
    size: int
    format: str

    @property
    def shards(self) -> int:
        """How many there are."""
        return ceil(self.samples / self.size)

    def shard(self, number: int) -> Shard:
        """Shard number 0, 1, .."""
        start = number * self.size
        return Shard(number, start, min(start + self.size, self.samples))

    def share(self, process: int, processes: int) -> Iterator[Shard]:
        """The shards that one of several processes takes."""
        return (self.shard(number) for number in range(process, self.shards, processes))

    def path(self, number: int) -> UPath:
        """Where the arrays of a shard lie."""
        return self.folder / f"{number:06d}.{self.format}"

    def record(self, number: int) -> dict[str, Any] | None:
        """The record beside the arrays; None if there is none, or one of other samples."""
        found = storage.read_json(self.folder / f"{number:06d}.json")
        shard = self.shard(number)
        same = isinstance(found, dict) and [found.get("start"), found.get("stop")] == [*shard[1:]]
        return found if same and isinstance(found.get("sha256"), str) else None

    def is_done(self, number: int) -> bool:
        """Whether the shard is there, whole and unchanged."""
        record = self.record(number)
        return record is not None and arrays.digest(self.path(number)) == record.get("sha256")

    def unfinished(self, shards: Iterable[Shard]) -> list[Shard]:
        """Those that are not `is_done`. The record of a damaged one is removed, so that it does not
        pass for a finished one."""
        shards, missing = list(shards), set(self.missing())
        recorded = [shard.number for shard in shards if shard.number not in missing]
        with ThreadPoolExecutor(READERS) as pool:  # a store answers many as fast as one
            done = dict(zip(recorded, pool.map(self.is_done, recorded), strict=True))
        for number in recorded:
            if not done[number]:
                self.discard(number)
        return [shard for shard in shards if not done.get(shard.number)]

    def missing(self) -> list[int]:
        """The numbers without a record."""
        names = storage.names(self.folder)
        return [number for number in range(self.shards) if f"{number:06d}.json" not in names]

    def discard(self, number: int) -> None:
        """Remove the record, so that the shard counts as missing."""
        storage.remove(self.folder / f"{number:06d}.json")

    def write(self, shard: Shard, content: dict[str, np.ndarray]) -> dict[str, Any]:
        """Write the arrays, then the record, which is returned; StorageError leaves neither."""
        path = self.path(shard.number)
        record = {
            "shard": shard.number,
            "start": shard.start,
            "stop": shard.stop,
            "file": path.name,
            "sha256": arrays.write(path, content),
            "evaluations": int(content["evaluations"].sum(dtype=np.int64)),
            "failed": int(np.sum((content["status"] & int(FAILED)) != 0)),
        }
        storage.write_json(self.folder / f"{shard.number:06d}.json", record)
        return record
