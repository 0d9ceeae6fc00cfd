"""One shard of a job that another process began, on whatever machine this is."""

from __future__ import annotations

import json
import os
import time
from functools import lru_cache
from pathlib import Path

from densityguide import xla
from densityguide.app import cache
from densityguide.app.jobs import config, manifest
from densityguide.app.jobs.config import Job
from densityguide.app.jobs.engines import Done
from densityguide.app.jobs.run import PREPARE, computed
from densityguide.app.jobs.shards import Plan
from densityguide.app.jobs.work import Work
from densityguide.disk import settings, storage

__all__ = ["compute"]


def compute(place: str, directory: str, number: int) -> Done:
    """Compute shard ``number`` of the job whose manifest lies in ``place`` and write it there; one
    that is there already is left alone, so that two workers may be given the same.

    ``directory`` is where relative names in the job begin. A process prepares and compiles a job
    once. ValueError where it does not see the folder, or sees another model or other data.
    """
    _settle(directory)
    begun = time.perf_counter()
    path = storage.folder(place)
    known = storage.read_json(path / manifest.NAME)
    if not manifest.is_whole(known):
        raise ValueError(
            f"a worker on {os.uname().nodename} does not find the job in {place}: give an --out "
            "that all machines share"
        )
    job, work = _prepared(json.dumps([known["job"], known["facts"]]))
    for name, wanted in known["facts"].items():
        if work.facts.get(name) != wanted:
            raise ValueError(
                f"the {name} on {os.uname().nodename} is another than where the job was begun: "
                "give all machines the same"
            )
    plan = Plan(path / "shards", work.samples, job.output.shard, job.output.format)
    if not plan.is_done(number):
        for shard, found in computed(work, job, [plan.shard(number)]):
            plan.write(shard, work.finish(found))
    record = plan.record(number)
    assert record is not None
    return Done(record, manifest.environment(), time.perf_counter() - begun)


@lru_cache(maxsize=1)
def _settle(directory: str) -> None:
    """Once in a process, before JAX starts."""
    xla.prepare()
    cache.switch_on()
    if Path(directory).is_dir():
        os.chdir(directory)


@lru_cache(maxsize=1)
def _prepared(text: str) -> tuple[Job, Work]:
    values, facts = json.loads(text)
    job: Job = settings.build(config.KINDS[values.pop("kind")], values)
    return job, PREPARE[type(job)](job, facts)
