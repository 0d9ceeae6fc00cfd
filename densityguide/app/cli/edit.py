"""The command ``edit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli import places
from densityguide.app.cli.options import (
    DEFAULT,
    Array,
    Condition,
    Json,
    Model,
    Probes,
    Quantiles,
    Seed,
    Solver,
    Steps,
    examples,
)
from densityguide.app.cli.program import app, tell

__all__: list[str] = []


@app.command(
    epilog=examples(
        "edit photo.png",
        "edit a.jpg b.png --q 0.3,0.7 --out mine",
        "edit photo.png --condition 4 --depth -2",
        "edit samples/samples.npz --array x --own 0",
        "edit points.npy --model world:mixture --json",
    )
)
def edit(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            parser=places.source,
            metavar="FILES",
            help="Pictures of any size, folders of them, or one .npy or .npz file. Of a picture "
            "the middle is cut out and scaled to the model's size, as training does.",
            show_default=False,
        ),
    ],
    model: Model = DEFAULT,
    q: Quantiles = None,
    depth: Annotated[
        float | None,
        typer.Option(
            metavar="L",
            help="Log-SNR to encode to: near the data end only detail changes. "
            "[default: the noise end]",
        ),
    ] = None,
    array: Array = None,
    own: Annotated[
        int,
        typer.Option(
            metavar="N", help="Own samples of the model to compare log p with; 0 for none."
        ),
    ] = 8,
    seed: Seed = 0,
    steps: Steps = None,
    solver: Solver = None,
    condition: Condition = None,
    probes: Probes = None,
    out: Annotated[
        Path,
        typer.Option(
            parser=places.folder,
            metavar="FOLDER",
            help="Folder for edit.png, edit.npz and report.json.",
        ),
    ] = Path("edit"),
    as_json: Json = False,
) -> None:
    """Decode your own pictures at other log-densities."""
    from densityguide.app import dial
    from densityguide.app.commands.edit import Way, run
    from densityguide.app.commands.edit_report import show
    from densityguide.app.commands.progress import bar
    from densityguide.app.requests import Request

    request = Request(model, None, seed, steps, solver, condition, probes)
    way = Way(dial.quantiles(q) if q else (), depth, own)
    with bar("editing", first="compiling") as progress:
        results = run(request, inputs, array, way, out, progress)
    tell(as_json, show, *results)
