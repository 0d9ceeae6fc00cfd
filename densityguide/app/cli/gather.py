"""The command ``gather``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli import places
from densityguide.app.cli.options import Json, examples
from densityguide.app.cli.program import app, tell

__all__: list[str] = []


@app.command(
    epilog=examples(
        "gather jobs/sweep",
        "gather jobs/sweep --merge npz --out sweep",
        "gather gs://bucket/job --partial",
    )
)
def gather(
    job: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="Folder or address of a job that `run` finished.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=places.folder,
            metavar="FOLDER",
            help="For summary.html, sheet.png where samples are pictures, and merged arrays.",
        ),
    ] = Path("gathered"),
    merge: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Also check every shard and write all arrays as one: npz or zarr.",
        ),
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="What is there of an unfinished or damaged job."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at what a job found: a page, pictures, one file of all."""
    from densityguide.app.commands import gather as gathering

    status, report = gathering.run(job, out, merged=merge, partial_job=partial)
    if report is not None:
        tell(as_json, gathering.show, report)
    raise typer.Exit(status)
