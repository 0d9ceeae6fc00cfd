"""The progress of a job: a bar on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from upath import UPath

from densityguide import display
from densityguide.disk import storage

__all__ = ["Progress", "logged", "shown", "silent"]

Record = dict[str, Any]
Tick = Callable[[Record], None]
Progress = Callable[[int, int], AbstractContextManager[Tick]]


@contextmanager
def silent(total: int, done: int) -> Iterator[Tick]:
    """Nothing."""
    yield lambda record: None


def shown(name: str, process: int = 0, file: TextIO | None = None) -> Progress:
    """A progress for `run`: ``progress(total, done)`` gives ``tick(record)`` for every shard. Lines
    go to ``file`` [standard output]."""
    return _bar(name) if display.is_watched() else _lines(process, file)


def logged(path: Path, also: Progress = silent, process: int = 0) -> Progress:
    """A progress for `run` that appends a line of JSON to a file for every shard, beside what
    ``also`` shows. Several processes may share the file.

    storage.StorageError where the file cannot be written.
    """

    @contextmanager
    def progress(total: int, done: int) -> Iterator[Tick]:
        with ExitStack() as stack:
            with storage.writing(UPath(path)):
                file = stack.enter_context(path.open("a", encoding="utf-8"))
            write = stack.enter_context(_lines(process, file)(total, done))
            show = stack.enter_context(also(total, done))

            def tick(record: Record) -> None:
                with storage.writing(UPath(path)):
                    write(record)
                show(record)

            yield tick

    return progress


def _bar(name: str) -> Progress:
    @contextmanager
    def progress(total: int, done: int) -> Iterator[Tick]:
        with display.bar(f"{name}: compiling", total, done) as update:
            rate = _rate()

            def tick(record: Record) -> None:
                samples = record["stop"] - record["start"]
                speed = f"{rate(samples):.3g} samples/s"
                update(advance=samples, description=name, note=speed)

            yield tick

    return progress


def _lines(process: int, file: TextIO | None) -> Progress:
    @contextmanager
    def progress(total: int, done: int) -> Iterator[Tick]:
        rate, count = _rate(), done

        def tick(record: Record) -> None:
            nonlocal count
            samples = record["stop"] - record["start"]
            count += samples
            speed = rate(samples)
            line = {
                "process": process,
                "shard": record["shard"],
                "done": count,
                "of": max(total, count),  # more than its share, where others are gone
                "failed": record["failed"],
                "samples_per_second": float(f"{speed:.4g}"),
                "seconds_left": round(max(total - count, 0) / speed),
            }
            print(json.dumps(line), file=file, flush=True)

        yield tick

    return progress


def _rate() -> Callable[[int], float]:
    """``rate(samples)`` after each shard: samples a second so far, compilation included at first
    and left out once there is more to go by."""
    started = time.perf_counter()
    after_first: float | None = None
    seen = 0

    def rate(samples: int) -> float:
        nonlocal after_first, seen
        now = time.perf_counter()
        if after_first is None:
            after_first = now
            return samples / max(now - started, 1e-9)
        seen += samples
        return seen / max(now - after_first, 1e-9)

    return rate
