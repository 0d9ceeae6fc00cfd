"""The command ``between``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli.options import (
    DEFAULT,
    Array,
    Condition,
    Json,
    Model,
    Probes,
    Seed,
    Solver,
    Steps,
    examples,
)
from densityguide.app.cli.program import app, tell

__all__: list[str] = []


@app.command(
    epilog=examples(
        "between a.png b.png",
        "between a.png b.png --model digits8 --frames 7 --out way",
        "between samples/samples.npz --model digits8 --log-snr 2",
        "between points.npy --model world:mixture --json",
    )
)
def between(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES",
            help="Two pictures, or one .npy or .npz file, whose first two samples are taken.",
            show_default=False,
        ),
    ],
    model: Model = DEFAULT,
    array: Array = None,
    log_snr: Annotated[
        float,
        typer.Option(metavar="L", help="Noise level of both ends; 2 to 4 suits networks."),
    ] = 3.0,
    segments: Annotated[int, typer.Option(metavar="N", help="Chords of the curve.")] = 16,
    frames: Annotated[int, typer.Option(metavar="N", help="Pictures of the strip.")] = 9,
    seed: Seed = 0,
    steps: Steps = None,
    solver: Solver = None,
    condition: Condition = None,
    probes: Probes = None,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder for strip.png, curve.npz and report.json."),
    ] = Path("between"),
    as_json: Json = False,
) -> None:
    """Draw the short way between two samples, with its log p."""
    from densityguide.app.commands.between import Way, run, show
    from densityguide.app.commands.progress import bar
    from densityguide.app.requests import Request

    request = Request(model, None, seed, steps, solver, condition, probes)
    with bar("between", first="finding the curve") as progress:
        results = run(request, inputs, array, Way(log_snr, segments, frames), out, progress)
    tell(as_json, show, *results)
