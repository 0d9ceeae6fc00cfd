"""The results of a job as one mapping of names to arrays, however many shards they lie in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from upath import UPath

from densityguide.app.jobs import arrays, config, manifest
from densityguide.app.jobs.columns import BROKEN, READERS, Column, damaged
from densityguide.app.jobs.config import Job
from densityguide.app.jobs.shards import Plan
from densityguide.disk import settings, storage

__all__ = ["Results", "open"]


@dataclass(frozen=True, eq=False, repr=False)
class Results(Mapping[str, Column]):
    """Names to arrays with one row a sample, as a job stored them; nothing is read until an array
    is indexed.

    ``job`` is what was asked, ``summary`` what the command printed (None while it is unfinished),
    ``row`` the number of each row in the whole job, and ``missing`` the shards that are not there.
    ``records`` are those of the shards, and ``environments`` where they were computed.
    """

    place: UPath
    job: Job
    summary: dict[str, Any] | None
    samples: int
    row: np.ndarray
    missing: tuple[int, ...]
    records: tuple[dict[str, Any], ...]
    environments: tuple[dict[str, str], ...]
    columns: dict[str, Column]

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        whole = "" if not self.missing else f", {len(self.missing):,} shards missing"
        lines = [f"Results of {self.place}: {len(self.row):,} of {self.samples:,} rows{whole}"]
        lines += [f"  {name} {c.shape} {c.dtype}" for name, c in self.columns.items()]
        return "\n".join(lines)

    @property
    def sample(self) -> np.ndarray:
        """The number of each row's sample: equal ones began at the same latent."""
        count = self.job.count if isinstance(self.job, config.Sampling) else self.samples
        return self.row % count

    @property
    def guidance(self) -> np.ndarray:
        """The value that was asked of each row; nan where nothing was."""
        asked = self.job.guidance.values if isinstance(self.job, config.Sampling) else ()
        if not asked:
            return np.full(len(self.row), np.nan)
        return np.asarray(asked, np.float64)[self.row // self.job.count]

    def check(self) -> None:
        """Read every byte and compare its digest; ValueError for the first shard that differs."""
        files = next(iter(self.columns.values())).files
        for record, path in zip(self.records, files, strict=True):
            if arrays.digest(path) != record["sha256"]:
                raise damaged(path, "not the bytes that were written")


def open(out: str | os.PathLike[str], *, partial: bool = False) -> Results:
    """The results in folder or address ``out``, of `run` or of ``densityguide run``::

        found = jobs.open("jobs/sweep")
        found["log_density"][:]                       # reads one small array of each shard
        found["images"][found.guidance == 0.7][:8]    # reads the shards of this value

    With ``partial`` also those of a job that is unfinished or has lost shards: what is there.

    Raises:
        ValueError: no results there, or an unfinished or damaged job without ``partial``.
    """
    path = storage.folder(out)
    known = storage.read_json(path / manifest.NAME)
    if not manifest.is_whole(known) or known["job"].get("kind") not in config.KINDS:
        raise ValueError(
            f"{path} holds no results: expected the folder of a densityguide run, with its "
            f"{manifest.NAME}"
        )
    job, samples = _job(path, known)
    folder = storage.absolute(path) / "shards"  # what is read later lies where it lay
    plan = Plan(folder, samples, job.output.shard, job.output.format)
    finished = manifest.is_finished(path)
    records = _records(plan, known["shards"] if finished else None)
    missing = tuple(sorted(set(range(plan.shards)) - {record["shard"] for record in records}))
    if not partial and (missing or not finished):
        raise _unfinished(path, plan, missing, finished)
    if not records:
        raise ValueError(f"{path} holds no finished shard yet: wait for one")
    summary = storage.read_json(path / manifest.SUMMARY) if finished else None
    rows = [np.arange(record["start"], record["stop"]) for record in records]
    return Results(
        path,
        job,
        summary,
        plan.samples,
        np.concatenate(rows),
        missing,
        records,
        tuple(known["environments"]),
        _columns(plan, records),
    )


def _job(path: UPath, known: dict[str, Any]) -> tuple[Job, int]:
    """What was asked, and how many rows that makes."""
    values = dict(known["job"])
    try:
        job: Job = config.check(settings.build(config.KINDS[values.pop("kind")], values))
        return job, _samples(job, known["facts"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path / manifest.NAME} is damaged, or of another version of densityguide "
            f"({error!s:.200})"
        ) from None


def _samples(job: Job, facts: dict[str, Any]) -> int:
    """How many rows the whole job has."""
    if isinstance(job, config.Sampling):
        return job.count * max(len(job.guidance.values), 1)
    if isinstance(job, config.Density) and not job.count:
        return int(facts["split of the data"][("train", "heldout").index(job.part)])
    return job.count


def _records(plan: Plan, known: list[dict[str, Any]] | None) -> tuple[dict[str, Any], ...]:
    """Those of the shards that are there: from the manifest, or one by one."""
    there = {entry.name for entry in plan.folder.iterdir()} if plan.folder.is_dir() else set()
    if known is None:
        numbers = [n for n in range(plan.shards) if f"{n:06d}.json" in there]
        with ThreadPoolExecutor(READERS) as pool:
            known = [record for record in pool.map(plan.record, numbers) if record is not None]
    return tuple(record for record in known if _is_sound(plan, record) and record["file"] in there)


def _is_sound(plan: Plan, record: Any) -> bool:
    known = isinstance(record, dict) and isinstance(record.get("shard"), int)
    if not known or not 0 <= record["shard"] < plan.shards:
        return False
    shard, file = plan.shard(record["shard"]), plan.path(record["shard"]).name
    told = [record.get(name) for name in ("start", "stop", "file")]
    return told == [*shard[1:], file] and isinstance(record.get("sha256"), str)


def _unfinished(path: UPath, plan: Plan, missing: tuple[int, ...], finished: bool) -> ValueError:
    if finished:
        which = ", ".join(plan.path(number).name for number in missing[:3])
        what = f"{path} lost {len(missing):,} of {plan.shards:,} shards ({which}"
        what += ", ..)" if len(missing) > 3 else ")"
    else:
        what = f"{path} is unfinished ({plan.shards - len(missing):,} of {plan.shards:,} shards)"
    return ValueError(
        f"{what}: give its densityguide run again, or look at what is there by partial=True "
        "(--partial)"
    )


def _columns(plan: Plan, records: tuple[dict[str, Any], ...]) -> dict[str, Column]:
    files = [plan.folder / record["file"] for record in records]
    rows = [record["stop"] - record["start"] for record in records]
    try:
        found = arrays.layout(files[0])
    except BROKEN as error:
        raise damaged(files[0], error) from None
    if not found:
        raise damaged(files[0], "no array in it")
    return {name: Column(name, files, rows, like) for name, like in found.items()}
