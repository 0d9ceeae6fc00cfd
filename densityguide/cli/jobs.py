"""``densityguide run``: long jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from densityguide.cli.options import Json, examples
from densityguide.cli.program import app, print_json

__all__ = ["run"]


@app.command(
    epilog=examples(
        "run configs/smoke.toml",
        "run configs/emoji32-sweep.toml --out sweep --set count=1000",
        "run configs/digits8-density.toml --out gs://bucket/density",
        "run configs/tpu-pod.toml --out gs://bucket/pod --distributed",
        "run JOB.toml --coordinator host0:1234 --processes 2 --process 0",
        "run configs/evidence/*.toml",
    )
    + "\n\nExit status: 0 finished, 2 refused, 74 the output cannot be written, 75 stopped by "
    "SIGTERM, 130 by Ctrl-C. After 74, 75 and 130 the same command goes on."
)
def run(
    configs: Annotated[
        list[Path], typer.Argument(metavar="JOB.toml ...", help="What to compute, one by one.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder or address of the results; a job in it goes on. With several jobs, each "
            "has a folder of its own name in it, but evidence shares it. [default: jobs/NAME, of "
            "evidence docs/evidence]",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting, e.g. output.shard=128."
        ),
    ] = None,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="One of many processes, started by SLURM, Kubernetes or a TPU pod.",
        ),
    ] = False,
    coordinator: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="By hand: where process 0 listens.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(metavar="N", help="By hand: how many processes there are.")
    ] = None,
    process: Annotated[
        int | None, typer.Option(metavar="I", help="By hand: which one this is, from 0.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a job in resumable shards, on all devices of many hosts."""
    from densityguide.commands import run as running

    running.check_names(configs)
    status = 0
    for config in configs:
        status, summary = running.run(
            config,
            out,
            settings or [],
            progress=sys.stderr if as_json else None,  # only summaries on standard output
            automatic=distributed,
            coordinator=coordinator,
            processes=processes,
            process=process,
            several=len(configs) > 1,
        )
        if summary is not None and as_json:
            print_json(summary)
        elif summary is not None:
            running.show(summary)
        sys.stdout.flush()
        if status:
            break
    raise typer.Exit(status)
