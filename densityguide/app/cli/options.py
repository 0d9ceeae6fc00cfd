"""Options that several commands share: one name and one meaning everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli import places

__all__ = [
    "DEFAULT",
    "NOTHING",
    "SHIPPED",
    "Array",
    "Budgets",
    "Condition",
    "Count",
    "Draws",
    "Example",
    "Font",
    "FramesOf",
    "Json",
    "Land",
    "Latents",
]
__all__ += [
    "Model",
    "Negative",
    "OutFile",
    "Probes",
    "Prompt",
    "Quantiles",
    "Scale",
    "Seed",
    "Solver",
    "Steps",
    "Targets",
    "Tolerance",
    "examples",
]

# Those of `models.names()`, which would load every network library for a line of help.
SHIPPED: tuple[str, ...] = ("tiles32", "emoji32", "fashion28", "photos16", "spiral2d")
SHIPPED += ("digits8", "digits8-class", "digits8-edm", "digits8-flow")
DEFAULT = "tiles32"  # of every command, so that `density` fits what `sample` drew
NOTHING = 1  # the exit status where nothing at all could be measured

Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"{', '.join(SHIPPED)}, world:mixture, world:gaussian, a model folder, or "
        "diffusers:FOLDER, a folder saved by Hugging Face diffusers; `densityguide models` "
        "describes them.",
    ),
]
Quantiles = Annotated[
    list[str] | None,
    typer.Option(
        "--q",
        metavar="Q,Q,..",
        help="Quantiles in (0, 1), by commas or repeated; larger is smoother. [default: "
        "0.02,0.1,0.3,0.5,0.7,0.9,0.98, up to 256 dimensions 0.3,0.4,0.5,0.6,0.7; of these what "
        "lies where the model's log p rises with q, as far as that was measured]",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="NATS,..",
        help="Instead of --q: log p to aim at, in nats, or in bits/dim with bpd after the number.",
    ),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="NATS,..",
        help="Instead of --q: nats (or bpd) to add to log p over the solve; negative for detail.",
    ),
]
Land = Annotated[
    bool,
    typer.Option("--land", help="With --target: search until the model's own log p is the target."),
]
FramesOf = Annotated[
    int | None,
    typer.Option(
        "--frames",
        metavar="N",
        help="N values instead, evenly from the smallest to the largest of those; quantiles evenly "
        "on the normal scale. dial.html has all, grid.png at most 7.",
    ),
]
Latents = Annotated[
    int | None,
    typer.Option(metavar="N", help="Latents; every column uses the same. [default: 6; worlds 128]"),
]
Count = Annotated[
    int | None, typer.Option(metavar="N", help="The first N samples only. [default: all]")
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Steps of the solver. [default: 64; up to 256 dimensions 48 for the plain flow, and "
        "192 where it is guided]",
    ),
]
Tolerance = Annotated[
    str | None,
    typer.Option(
        metavar="NATS",
        help="How certain log p shall be (95 %): 0.5, or 0.01bpd for bits/dim. As many steps are "
        "taken as 8 of the model's own samples need; not with --steps.",
    ),
]
Solver = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="adams1 to adams6, euler, heun, midpoint, ralston, bosh3, tsit5, dopri5, dopri8. "
        "[default: adams4; guided up to 256 dimensions adams2; adams3 with --target]",
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
Prompt = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="What the picture shows, for a text-to-image model of diffusers."
    ),
]
Negative = Annotated[
    str | None, typer.Option(metavar="TEXT", help="With --prompt: what it does not show.")
]
Scale = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="With --prompt: scale of classifier-free guidance; 1 takes the prompt alone, at half "
        "the cost. [default: 5]",
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
    Path | None,
    typer.Option(parser=places.file, metavar="FILE", help="Also write the arrays, as .npz file."),
]
Font = Annotated[
    Path | None,
    typer.Option(parser=places.source, metavar="FILE", hidden=True),
]
Example = Annotated[
    bool, typer.Option("--example", help="Print a commented configuration to copy, and end.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON, not as a table.")]


def examples(*lines: str) -> str:
    """What stands below the options of ``--help``."""
    return "\b\nExamples:\n" + "\n".join(f"  densityguide {line}" for line in lines)
