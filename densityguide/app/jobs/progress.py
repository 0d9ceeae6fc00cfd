"""The progress of a job: a bar on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TextIO

from upath import UPath

from densityguide import display
from densityguide.disk import folders, storage

__all__ = ["Progress", "check_log", "logged", "shown", "silent"]

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

    ValueError for a folder, a device or a file of others; later, StorageError where a line cannot
    be written.
    """
    check_log(path)

    @contextmanager
    def progress(total: int, done: int) -> Iterator[Tick]:
        line = _line(process, total, done)
        with also(total, done) as show:

            def tick(record: Record) -> None:
                # Opened for each line: what a full disk refuses may come up only when it is closed.
                with storage.writing(UPath(path)):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("a", encoding="utf-8") as file:
                        print(line(record), file=file)
                show(record)

            yield tick

    return progress


def check_log(path: Path) -> None:
    """ValueError for what `logged` cannot append to."""
    folders.check_file(path, ours=_is_log, option="--log")


def _is_log(path: Path) -> bool:
    """Whether a file is empty, or begins with a line of JSON about a shard."""
    try:
        with path.open("rb") as file:
            first = file.readline(1000)
        return not first or "shard" in json.loads(first)
    except (OSError, ValueError, TypeError):
        return False


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
        line = _line(process, total, done)
        yield lambda record: print(line(record), file=file, flush=True)

    return progress


def _line(process: int, total: int, done: int) -> Callable[[Record], str]:
    """``line(record)``: what there is to tell once this shard is done too."""
    rate, count = _rate(), done

    def line(record: Record) -> str:
        nonlocal count
        samples = record["stop"] - record["start"]
        count += samples
        speed = rate(samples)
        told = {
            "process": process,
            "shard": record["shard"],
            "done": count,
            "of": max(total, count),  # more than its share, where others are gone
            "failed": record["failed"],
            "samples_per_second": float(f"{speed:.4g}"),
            "seconds_left": round(max(total - count, 0) / speed),
        }
        return json.dumps(told)

    return line


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
