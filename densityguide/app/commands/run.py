"""``densityguide run``: thin wiring of densityguide.app.jobs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from densityguide.app import jobs
from densityguide.app.commands import tables
from densityguide.app.commands.endings import ended
from densityguide.app.jobs import config, hosts, ray_tasks
from densityguide.app.jobs.engines import Engine
from densityguide.app.jobs.progress import check_log, logged, shown
from densityguide.app.names import shown as shown_name
from densityguide.disk import storage

__all__ = ["check_names", "engine_named", "is_empty", "place", "run", "show"]


def check_names(paths: Sequence[Path]) -> None:
    """ValueError for two jobs that would write to one folder."""
    names: dict[str, Path] = {}
    for path in paths:
        if path.stem in names:
            raise ValueError(
                f"expected jobs of different names, {names[path.stem]} and {path} would both write "
                f"to a folder {path.stem}: rename one, or run them one by one"
            )
        names[path.stem] = path


def run(
    path: Path,
    out: str | None,
    overrides: Sequence[str],
    *,
    progress: TextIO | None = None,
    several: bool = False,
    repair: bool = False,
    log: Path | None = None,
    engine: Engine | None = None,
    **others: Any,
) -> tuple[int, dict[str, Any] | None]:
    """(exit status, summary), the latter on the leading process of a finished job, else None.

    Without ``out`` the job in NAME.toml goes to jobs/NAME; with it, to ``out``, and jobs that are
    one of ``several`` to ``out``/NAME.
    ``repair`` is for a folder whose manifest is damaged, see `jobs.manifest.begin`.
    Lines of progress go to ``progress`` [standard output] and to the file ``log``; ``others`` go to
    `hosts.join`.
    ValueError or FileNotFoundError, one line, for bad input.
    """
    if out is not None and storage.folder(out).protocol == "memory":
        raise ValueError(
            f"expected a folder of this machine or a store, got {out}: what lies in memory is gone "
            "when the command ends"
        )
    job = config.read(path, overrides)
    out = place(path, out, several)
    if isinstance(job, dict):
        if log is not None:
            raise ValueError(f"expected no --log for training: its log is {out}/log.jsonl")
        return ended(partial(_train, job, out, others | {"engine": engine}))
    if several and _is_given(others | {"patience": None}):
        raise ValueError("expected one job with --distributed and its kin: start them one by one")
    if log is not None:
        check_log(log)  # rather than once the others were met
    status, here = ended(partial(hosts.join, **others))  # before anything touches a device
    if here is None:
        return status, None
    told = shown(path.stem, here.process, progress)
    if log is not None:
        told = logged(log, told, here.process)
    given: dict[str, Any] = {"here": here, "progress": told, "repair": repair, "engine": engine}
    status, summary = ended(partial(jobs.run, job, out, **given))
    return status, summary if here.leads else None


def engine_named(
    name: str | None, address: str | None, cpus: float | None, gpus: float | None
) -> Engine | None:
    """The engine of this name, or None for this process itself."""
    if name is None or name == "local":
        if (address, cpus, gpus) != (None, None, None):
            raise ValueError("expected --address, --cpus and --gpus beside --engine ray alone")
        return None
    if name != "ray":
        raise ValueError(f"expected --engine local or ray, got {name!r:.40}")
    ray_tasks.installed()  # rather than once the folder was begun
    return jobs.on_ray(address, cpus=1.0 if cpus is None else cpus, gpus=gpus)


def place(path: Path, out: str | None, several: bool) -> str:
    """Where the results of a job go."""
    if out is None or several:
        return f"{'jobs' if out is None else out.rstrip('/')}/{path.stem}"
    return out


def is_empty(summary: dict[str, Any]) -> bool:
    """Whether nothing at all could be measured."""
    rows = summary.get("rows", [summary])
    return all(row.get("failed", 0) == row.get("samples", -1) for row in rows)


def _train(values: dict[str, Any], out: str, others: dict[str, Any]) -> dict[str, Any] | None:
    """Training keeps checkpoints in place of shards."""
    from densityguide.app.commands import training

    _alone(others)
    where = storage.folder(out)
    if not storage.is_local(where):
        raise ValueError(f"expected a folder of this machine for training, got --out {out}")
    training.train_tables(values, storage.local(where))
    return None


def _is_given(others: dict[str, Any]) -> bool:
    return any(value is not None and value is not False for value in others.values())


def _alone(others: dict[str, Any]) -> None:
    if _is_given(others):
        raise ValueError(
            "expected training on one host: leave out --distributed, --engine and their kin"
        )


def show(summary: dict[str, Any], out: str) -> None:
    """The summary for people, and where the results are."""
    heads: tuple[str, ...]
    if "pass_rate" in summary:
        heads, row = ALIGNMENT, _alignment
    elif "rows" in summary:
        heads, row = (summary["guidance"] or "model", *LOG_DENSITY, "unmet"), _sampled
    else:
        heads, row = LOG_DENSITY, _measured
    table = tables.new(*heads, "status", words=("status",))
    for found in summary.get("rows", [summary]):
        names = ", ".join(f"{name} {count:,}" for name, count in found["status"].items())
        table.add_row(*row(found), names or "ok")
    tables.console().print(table)
    tables.console().print(f"Results are in {shown_name(out)}", soft_wrap=True)


ALIGNMENT = ("latents", "aligned", "95 % interval", "median cosine", "median value (nats)")
LOG_DENSITY = ("samples", "failed", "log p (nats)", "sd between samples", "bits/dim")


def _alignment(found: dict[str, Any]) -> tuple[str, ...]:
    low, high = found["interval_95"]
    return (
        f"{found['samples']:,}",
        f"{found['pass_rate']:.1%}",
        f"{low:.1%} to {high:.1%}",
        tables.number(found["median_cosine"], 3),
        tables.number(found["median_value"], 1),
    )


def _sampled(found: dict[str, Any]) -> tuple[str, ...]:
    value = "plain" if found["value"] is None else f"{found['value']:g}"
    if "log_density_nats" not in found:  # no trace was asked for
        return (value, *["-"] * len(LOG_DENSITY), "-")
    return (value, *_measured(found), tables.number(found["unmet_nats"], 2))


def _measured(found: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{found['samples']:,}",
        f"{found['failed']:,}",
        tables.with_error(found["log_density_nats"], found["standard_error_nats"], 2),
        tables.number(found["between_samples_nats"], 2),
        tables.with_error(found["bits_per_dim"], found["standard_error_bits_per_dim"], 4),
    )
