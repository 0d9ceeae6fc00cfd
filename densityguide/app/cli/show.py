"""The command ``show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli import places
from densityguide.app.cli.options import Json, examples
from densityguide.app.cli.program import app, tell

__all__: list[str] = []


@app.command(epilog=examples("show samples/grid.png", "show between/strip.png --json"))
def show(
    picture: Annotated[
        Path,
        typer.Argument(
            parser=places.source,
            metavar="FILE",
            help="A PNG picture that `sample`, `edit` or `between` wrote.",
            show_default=False,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Tell how a picture was made, and the command for it."""
    from densityguide.app.commands import show as shown

    tell(as_json, shown.show, shown.run(picture))
