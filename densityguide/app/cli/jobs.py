"""``densityguide run``: long jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli import places
from densityguide.app.cli.options import NOTHING, Example, Json, examples
from densityguide.app.cli.program import app, print_json
from densityguide.app.commands import examples as texts

__all__ = ["run"]


@app.command(
    epilog=examples(
        "run --example > my.toml",
        "run my.toml",
        "run my.toml --out sweep --set count=1000",
        "run my.toml --out gs://bucket/density",
        "run my.toml --out gs://bucket/sweep --engine ray --address auto",
        "run my.toml --out gs://bucket/pod --distributed",
        "run JOB.toml --coordinator host0:1234 --processes 2 --process 0",
    )
    + "\n\nExit status: 0 finished, 2 refused, 74 the output cannot be written, 75 stopped by "
    "SIGTERM, 130 by Ctrl-C. After 74, 75 and 130 the same command goes on."
)
def run(
    configs: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=places.source,
            metavar="JOB.toml ...",
            help="What to compute, one by one.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder or address of the results; a job in it goes on. With several jobs, each "
            "has a folder of its own name in it. [default: jobs/NAME]",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting, e.g. output.shard=128."
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Where manifest.json is damaged: take what is finished there for this job's.",
        ),
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            parser=places.file,
            metavar="FILE",
            help="Also append what the bar shows to this file, a line of JSON for every shard.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What computes the shards: ray, or this process. [default: local]",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --engine ray: its cluster, auto or ray://HOST:PORT. [default: this machine]",
        ),
    ] = None,
    cpus: Annotated[
        float | None,
        typer.Option(metavar="N", help="With --engine ray: CPUs of a worker. [default: 1]"),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="With --engine ray: GPUs of a worker. [default: 1 if the cluster has any]",
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
    patience: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Without a sign of life for so long a process is gone, and others take over its "
            "shards. [default: 60]",
        ),
    ] = None,
    example: Example = False,
    as_json: Json = False,
) -> None:
    """Run a job in resumable shards, on all devices of many hosts."""
    from densityguide.app.commands import run as running

    if example:
        print(texts.text("job"), end="")
        return
    if not configs:
        raise typer.BadParameter(
            "expected JOB.toml: densityguide run --example > job.toml makes one to change"
        )

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
            patience=patience,
            several=len(configs) > 1,
            repair=repair,
            log=log,
            engine=running.engine_named(engine, address, cpus, gpus),
        )
        if summary is not None and as_json:
            print_json(summary)
        elif summary is not None:
            running.show(summary, running.place(config, out, len(configs) > 1))
        if summary is not None and running.is_empty(summary):
            status = NOTHING
        sys.stdout.flush()
        if status:
            break
    raise typer.Exit(status)
