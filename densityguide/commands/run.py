"""``densityguide run``: thin wiring of densityguide.jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from densityguide import jobs
from densityguide.commands import tables
from densityguide.commands.endings import ended
from densityguide.jobs import config, hosts, storage
from densityguide.jobs.progress import shown

__all__ = ["check_names", "run", "show"]

EVIDENCE = "docs/evidence"


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
    **others: Any,
) -> tuple[int, dict[str, Any] | None]:
    """(exit status, summary): the summary on the leading process of a job that was finished.

    Without ``out``, evidence goes to docs/evidence and the job in NAME.toml to jobs/NAME; with it,
    to ``out``, and jobs that are one of ``several`` to ``out``/NAME.
    Lines of progress go to ``progress`` [standard output]; ``others`` are those of `hosts.join`.
    ValueError or FileNotFoundError, one line, for bad input.
    """
    if out is not None:
        storage.folder(out)
    job = config.read(path, overrides)
    is_evidence = isinstance(job, dict) and job["kind"] == "evidence"
    if is_evidence:
        out = EVIDENCE if out is None else out
    elif out is None or several:
        out = f"{'jobs' if out is None else out.rstrip('/')}/{path.stem}"
    if isinstance(job, dict):
        return ended(partial(_answer if is_evidence else _train, job, out, others))
    here = hosts.join(**others)  # before anything touches a device
    told = shown(path.stem, here.process, progress)
    status, summary = ended(partial(jobs.run, job, out, here=here, progress=told))
    return status, summary if here.leads else None


def _answer(values: dict[str, Any], out: str, others: dict[str, Any]) -> dict[str, Any]:
    """A question of `densityguide.evidence`, which keeps a table of each model in place of
    shards."""
    from densityguide import evidence

    _alone("evidence", others)
    given = {key: value for key, value in values.items() if key != "kind"}
    return evidence.run(given, out, tell=partial(print, file=sys.stderr, flush=True))


def _train(values: dict[str, Any], out: str, others: dict[str, Any]) -> dict[str, Any] | None:
    """Training keeps checkpoints in place of shards."""
    from densityguide.commands import training

    _alone("training", others)
    where = storage.folder(out)
    if not storage.is_local(where):
        raise ValueError(f"expected a folder of this machine for training, got --out {out}")
    training.train_tables(values, storage.local(where))
    return None


def _alone(what: str, others: dict[str, Any]) -> None:
    if any(value is not None and value is not False for value in others.values()):
        raise ValueError(f"expected {what} on one host: leave out --distributed and its kin")


def show(summary: dict[str, Any]) -> None:
    """The summary for people."""
    heads: tuple[str, ...]
    if "claims" in summary:
        claims = tables.new("claim", "found", "verdict", words=("claim", "found", "verdict"))
        for claim in summary["claims"]:
            claims.add_row(claim["text"], claim["found"], claim["verdict"])
        tables.console().print(claims)
        return
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
