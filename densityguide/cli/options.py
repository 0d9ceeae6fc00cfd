"""Options that several commands share: one name and one meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DIAL", "Array", "Condition", "Count", "Draws", "Font", "Json", "Latents", "Model"]
__all__ += ["OutFile", "Probes", "Quantiles", "Seed", "Solver", "Steps", "examples"]

DIAL = ("0.3,0.4,0.5,0.6,0.7",)

Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="emoji32, digits8, world:mixture, world:gaussian, a model folder, or "
        "diffusers:FOLDER, a folder saved by Hugging Face diffusers.",
    ),
]
Quantiles = Annotated[
    list[str] | None,
    typer.Option(
        "--q",
        metavar="Q,Q,..",
        help="Quantiles in (0, 1), by commas or repeated; larger is smoother. "
        "[default: 0.3,0.4,0.5,0.6,0.7]",
    ),
]
Latents = Annotated[
    int | None,
    typer.Option(metavar="N", help="Latents; every q uses the same. [default: 8; worlds 128]"),
]
Count = Annotated[
    int | None, typer.Option(metavar="N", help="The first N samples only. [default: all]")
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Steps of the solver. [default: as many as give 64 evaluations; up to 256 "
        "dimensions 128; worlds 384]",
    ),
]
Solver = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="adams1 to adams6, euler, heun, midpoint, ralston, bosh3, tsit5, dopri5, dopri8. "
        "[default: adams4; up to 256 dimensions adams2]",
    ),
]
Condition = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS",
        help="What the model is told, if it was trained with conditions: a class number, or a "
        "text embedding as .npy file.",
    ),
]
Probes = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Probes of the estimated trace; 0 takes the exact one. [default: 0 up to 256 "
        "dimensions, 2 above]",
    ),
]
Draws = Annotated[
    int, typer.Option(metavar="N", help="Dequantisations of each picture, to average over.")
]
Array = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which array of an .npz file. [default: the only one, or x]"),
]
OutFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the arrays, as .npz file.")
]
Font = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Font file of emoji32. [default: the installed one]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON, not as a table.")]


def examples(*lines: str) -> str:
    """What stands below the options of ``--help``."""
    return "\b\nExamples:\n" + "\n".join(f"  densityguide {line}" for line in lines)
