"""Run a job to its end, or to the next interruption: what is done is never done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from math import ceil
from typing import Any

import jax
import numpy as np
from upath import UPath

from densityguide import parallel
from densityguide.app.jobs import alignment, arrays, config, density, hosts, manifest, sampling
from densityguide.app.jobs.config import Job
from densityguide.app.jobs.engines import Engine
from densityguide.app.jobs.hosts import Hosts
from densityguide.app.jobs.progress import Progress, silent
from densityguide.app.jobs.shards import Plan, Shard
from densityguide.app.jobs.work import Work
from densityguide.app.summary import plain
from densityguide.disk import storage
from densityguide.disk.interrupts import interruptible

__all__ = ["PREPARE", "computed", "run"]

PREPARE: dict[type, Callable[[Any], Work]] = {
    config.Sampling: sampling.prepare,
    config.Density: density.prepare,
    config.Alignment: alignment.prepare,
}


def run(
    job: Job,
    out: str | os.PathLike[str],
    *,
    here: Hosts = Hosts(),  # noqa: B008  (immutable)
    progress: Progress = silent,
    repair: bool = False,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Finish the job in folder ``out`` and return its summary.

    Shards that are there, whole and unchanged, are left alone; the others are computed on all local
    devices, this process taking its share (``here``, from `hosts.join`), or by an ``engine`` such
    as `on_ray`, with the same bytes. The folder ends with shards/000000.npz and so on, a record
    beside each, summary.json, and manifest.json.

    Raises:
        ValueError, FileNotFoundError: bad settings, a folder of another job or in use.
        storage.StorageError: the disk is full or not writable. What was finished stays.
        interrupts.Preempted: SIGTERM arrived. What was finished stays.
    """
    path = storage.folder(out)
    if engine is not None and here.processes > 1:
        raise ValueError("expected --engine alone: its workers take the place of --distributed")
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        work, begun = _begin(stack, job, path, here, repair)
        plan = Plan(path / "shards", work.samples, job.output.shard, job.output.format)
        if here.leads:
            storage.sweep(plan.folder)
            storage.sweep(path)
        todo = [shard for shard in plan.share(*here) if not plan.is_done(shard.number)]
        for shard in todo:  # a record of a damaged shard must not pass for a finished one
            plan.discard(shard.number)
        hosts.agree(here, None)
        if here.leads and (todo or not manifest.is_finished(path)):
            storage.write_json(path / manifest.NAME, begun)
        own = sum(shard.stop - shard.start for shard in plan.share(*here))
        left = sum(shard.stop - shard.start for shard in todo)
        with progress(own, own - left) as tick:
            if engine is None:
                for shard, found in computed(work, job, todo):
                    tick(plan.write(shard, work.finish(found)))
            else:
                for done in engine(path, [shard.number for shard in todo]):
                    begun = manifest.met(begun, done.environment)
                    tick(done.record)
        if here.leads:
            for number in range(plan.shards):  # each is asked for until it is there, then no more
                hosts.wait(partial(plan.record, number))
            if todo or not manifest.is_finished(path):
                _finish(path, plan, work, begun)
        else:
            hosts.wait(lambda: manifest.is_finished(path))
        return storage.read_json(path / manifest.SUMMARY)


def _begin(
    stack: ExitStack, job: Job, path: UPath, here: Hosts, repair: bool
) -> tuple[Work, dict[str, Any]]:
    """The work and its manifest, agreed on by all processes, with the folder held; a job that is
    refused leaves no folder and no lock."""
    begun: dict[str, Any] = {}
    problem, asked, full = None, None, None
    try:
        config.check(job)
        arrays.check(job.output.format)
        work = PREPARE[type(job)](job)
        begun = manifest.begin(path, config.record(job), work.facts, repair=repair)
        if here.leads:
            stack.enter_context(storage.locked(path))
            begun = manifest.begin(path, config.record(job), work.facts, repair=repair)
        asked = [begun["job"], begun["facts"]]
    except (ValueError, FileNotFoundError) as error:
        problem = str(error)
    except storage.StorageError as error:  # the others must hear of it before this one ends
        problem, full = str(error), error
    try:
        hosts.agree(here, problem, asked)
    except ValueError:
        if full is not None:
            raise full from None
        raise
    return work, begun


def computed(
    work: Work, job: Job, todo: list[Shard], devices: parallel.Devices | None = None
) -> Iterator[tuple[Shard, dict[str, np.ndarray]]]:
    """Every shard's results, in order; later shards are computed while the caller writes one."""
    block = job.output.block

    def blocks() -> Iterator[tuple[Any, ...]]:
        for shard in todo:
            for start in range(shard.start, shard.stop, block):
                # Blocks end with their shard, so that a sample's place in one never changes.
                yield work.inputs(np.minimum(np.arange(start, start + block), shard.stop - 1))

    results = parallel.stream(work.one, work.shared, blocks(), devices=devices)
    for shard in todo:
        size = shard.stop - shard.start
        parts = [next(results) for _ in range(ceil(size / block))]
        yield shard, jax.tree.map(lambda *some, n=size: np.concatenate(some)[:n], *parts)


def _finish(path: UPath, plan: Plan, work: Work, begun: dict[str, Any]) -> None:
    parts = [arrays.read(plan.path(number), work.small) for number in range(plan.shards)]
    together = {name: np.concatenate([part[name] for part in parts]) for name in work.small}
    records = [record for n in range(plan.shards) if (record := plan.record(n)) is not None]
    manifest.finish(path, begun, records, plain(work.summarise(together)))
