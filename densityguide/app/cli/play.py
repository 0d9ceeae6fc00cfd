"""The command ``play``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from densityguide.app.cli.options import (
    DEFAULT,
    Condition,
    Model,
    Probes,
    Seed,
    Solver,
    Steps,
    examples,
)
from densityguide.app.cli.program import app

__all__: list[str] = []


@app.command(
    epilog=examples(
        "play",
        "play --model digits8 --port 8000",
        "play --model ./my-model --no-browser",
        "play --condition 4",
    )
)
def play(
    model: Model = DEFAULT,
    seed: Seed = 0,
    steps: Steps = None,
    solver: Solver = None,
    condition: Condition = None,
    probes: Probes = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="N", help="Port of 127.0.0.1. [default: from 7860 the first free]"),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    share: Annotated[
        bool,
        typer.Option(
            "--share",
            help="Also a public address, by way of a server of gradio's: whoever knows it can use "
            "the page.",
        ),
    ] = False,
) -> None:
    """Turn the dial live in a browser, also on your own picture."""
    from densityguide.app.play.serve import run
    from densityguide.app.requests import Request

    request = Request(model, None, seed, steps, solver, condition, probes)
    run(request, port, share, browser, lambda text: print(text, file=sys.stderr, flush=True))
