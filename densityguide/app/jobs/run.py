"""Run a job to its end, or to the next interruption: what is done is never done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
from densityguide.app.jobs.peers import Peers
from densityguide.app.jobs.progress import Progress, silent
from densityguide.app.jobs.shards import READERS, Plan, Shard
from densityguide.app.jobs.work import Facts, Work
from densityguide.app.summary import plain
from densityguide.disk import interrupts, leases, storage

__all__ = ["PREPARE", "computed", "run"]

PREPARE: dict[type, Callable[[Any, Facts], Work]] = {
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
    devices, this process taking its share (``here``, from `hosts.join`), and then what those that
    are gone have left undone; or by an ``engine`` such as `on_ray`, with the same bytes. The folder
    ends with shards/000000.npz and so on, a record beside each, summary.json, and manifest.json.

    Raises:
        ValueError, FileNotFoundError: bad settings, a folder of another job or in use.
        storage.StorageError: the disk is full or not writable. What was finished stays.
        interrupts.Preempted: SIGTERM arrived. What was finished stays.
    """
    path = storage.folder(out)
    if engine is not None and here.processes > 1:
        raise ValueError("expected --engine alone: its workers take the place of --distributed")
    with ExitStack() as stack:
        stack.enter_context(interrupts.interruptible())
        peers = stack.enter_context(Peers(here, path))
        work, begun, plan, todo = _begin(stack, job, path, peers, repair)
        if peers.leads and (todo or not manifest.is_finished(path)):
            storage.write_json(path / manifest.NAME, begun)
        own = sum(shard.stop - shard.start for shard in plan.share(here.process, here.processes))
        left = sum(shard.stop - shard.start for shard in todo)
        with progress(own, own - left) as tick:
            while True:
                if engine is None:
                    for shard, found in computed(work, job, todo):
                        tick(plan.write(shard, work.finish(found)))
                        interrupts.check()
                elif todo:
                    for done in engine(path, [shard.number for shard in todo]):
                        begun = manifest.met(begun, done.environment)
                        tick(done.record)
                if manifest.is_finished(path):
                    break
                todo = _next(peers, path, plan)
                if not todo and peers.leads and _finish(peers, path, plan, work, begun):
                    break
        return storage.read_json(path / manifest.SUMMARY)


def _begin(
    stack: ExitStack, job: Job, path: UPath, peers: Peers, repair: bool
) -> tuple[Work, dict[str, Any], Plan, list[Shard]]:
    """The work, its manifest and this process's part of it, agreed on by all processes, with the
    folder held; a job that is refused leaves no folder and no lock."""
    here = peers.here
    config.check(job)
    arrays.check(job.output.format)
    work = PREPARE[type(job)](job, manifest.facts(path))
    begun = manifest.begin(path, config.record(job), work.facts, repair=repair)
    plan = Plan(path / "shards", work.samples, job.output.shard, job.output.format)
    if here.leads:
        stack.enter_context(leases.locked(path, here.patience, hosts.say))
        begun = manifest.begin(path, config.record(job), work.facts, repair=repair)
        storage.sweep(plan.folder)  # before the others are told to go on, and write there
        storage.sweep(path)
    todo = plan.unfinished(plan.share(here.process, here.processes))
    peers.agree([begun["job"], begun["facts"]])
    return work, begun, plan, todo


def _next(peers: Peers, path: UPath, plan: Plan) -> list[Shard]:
    """What else falls to this process, a few at a time. None, once there is nothing left to wait
    for: all shards are there, and this process leads or the job is finished."""
    while True:
        holders = {number: peers.holder(number) for number in plan.missing()}
        mine = [number for number, holder in holders.items() if holder == peers.here.process]
        if mine:
            few = jax.local_device_count() if peers.here.processes > 1 else None
            return [plan.shard(number) for number in mine[:few]]
        if not holders and (peers.leads or manifest.is_finished(path)):
            return []
        if holders:
            names = ", ".join(str(number) for number in sorted(holders)[:8])
            more = f" and {len(holders) - 8} more" if len(holders) > 8 else ""
            peers.wait(set(holders.values()), f"to write shards {names}{more}")
        else:
            peers.wait([peers.first], "to write the summary")


def computed(
    work: Work, job: Job, todo: list[Shard], devices: parallel.Devices | None = None
) -> Iterator[tuple[Shard, dict[str, np.ndarray]]]:
    """Every shard's results, in order; later shards are computed while the caller writes one."""
    block = job.output.block

    def blocks() -> Iterator[tuple[Any, ...]]:
        for shard in todo:
            for start in range(shard.start, shard.stop, block):
                interrupts.check()
                # Blocks end with their shard, so that a sample's place in one never changes.
                yield work.inputs(np.minimum(np.arange(start, start + block), shard.stop - 1))

    results = parallel.stream(work.one, work.shared, blocks(), devices=devices)
    for shard in todo:
        size = shard.stop - shard.start
        parts = [next(results) for _ in range(ceil(size / block))]
        yield shard, jax.tree.map(lambda *some, n=size: np.concatenate(some)[:n], *parts)


def _finish(peers: Peers, path: UPath, plan: Plan, work: Work, begun: dict[str, Any]) -> bool:
    """Write the summary and the manifest; False where a shard turns out to be damaged, whose record
    is removed."""

    def part(number: int) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        gone = peers.is_gone(number % peers.here.processes)  # it may not have looked at what it had
        record = plan.record(number)
        if record is None or (gone and not plan.is_done(number)):
            return None
        try:
            return record, arrays.read(plan.path(number), work.small)
        except arrays.DAMAGED:
            return None

    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(part, range(plan.shards)))
    for number in [number for number, one in enumerate(found) if one is None]:
        plan.discard(number)
    whole = [one for one in found if one is not None]
    if len(whole) < plan.shards:
        return False
    parts = [one[1] for one in whole]
    together = {name: np.concatenate([part[name] for part in parts]) for name in work.small}
    manifest.finish(path, begun, [one[0] for one in whole], plain(work.summarise(together)))
    return True
