"""``densityguide gather``: the results of a job in one place, to look at and to go on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from densityguide.app import jobs
from densityguide.app.commands import gather_page, gathered, tables
from densityguide.app.commands.endings import ended
from densityguide.app.jobs import arrays, config, merge
from densityguide.app.names import shown
from densityguide.disk import folders as folder
from densityguide.disk import storage

__all__ = ["run", "show"]


def run(
    job: str, out: Path, *, merged: str | None = None, partial_job: bool = False
) -> tuple[int, dict[str, Any] | None]:
    """(exit status, report). Reads the job in folder or address ``job``, writes summary.html, of
    pictures sheet.png, and on request all arrays as ``merged``: "npz" or "zarr".

    ValueError or FileNotFoundError, one line, for what is no finished job, or for ``out`` with
    other files in it.
    """
    if merged is not None and merged not in merge.FORMATS:
        raise ValueError(f"expected --merge {' or '.join(merge.FORMATS)}, got {merged!r:.40}")
    if merged == "zarr":
        arrays.check(merged)
    found = jobs.open(job, partial=partial_job)
    if storage.is_local(found.place) and storage.local(found.place).resolve() == out.resolve():
        raise ValueError(f"{out} is the job's own folder: choose another --out")
    folder.check(out)
    return ended(partial(_gather, found, out, merged))


def _gather(found: jobs.Results, out: Path, merged: str | None) -> dict[str, Any]:
    loaded, why = gathered.known(found)
    stored = gathered.numbers(found)
    pictures = gathered.pictures(found, loaded, stored)
    page = gather_page.page(found, loaded, stored, pictures)
    files: dict[str, Callable[[Path], Any]] = {"summary.html": page.save}
    if pictures and loaded is not None:
        drawn = gather_page.sheet(found, loaded, stored, pictures)
        files["sheet.png"] = lambda path: drawn.save(path, "PNG")
    if merged is not None:
        found.check()
        files[f"merged.{merged}"] = partial(merge.merge, found)
    report = {
        "program": folder.MARK,
        "job": config.record(found.job),
        "rows": len(found.row),
        "of": found.samples,
        "missing_shards": [*found.missing],
        "arrays": {name: [str(array.dtype), *array.shape] for name, array in found.items()},
        "model_missing": why or None,
    }
    files["report.json"] = lambda path: path.write_text(json.dumps(report, indent=1) + "\n")
    paths = folder.write(out, files)
    return report | {"files": [str(path) for path in paths]}


def show(console: Console, report: dict[str, Any]) -> None:
    """What there is, and where it went."""
    missing = report["missing_shards"]
    whole = f", {len(missing):,} shards not there" if missing else ""
    console.print(f"{report['rows']:,} of {report['of']:,} rows{whole}:")
    table = tables.new("array", "type", "shape", words=("array", "type"))
    for name, (kind, *shape) in report["arrays"].items():
        table.add_row(shown(name), kind, " x ".join(f"{size:,}" for size in shape))
    console.print(table)
    if report["model_missing"]:
        console.print(f"Without pictures and bits/dim: {shown(report['model_missing'])}")
    tables.wrote(console, [Path(name) for name in report["files"]])
