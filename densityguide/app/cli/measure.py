"""What uses a model: ``models``, ``sample``, ``density``, ``align``, ``verify``, ``cost``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli import places
from densityguide.app.cli.options import (
    DEFAULT,
    NOTHING,
    Array,
    Budgets,
    Condition,
    Count,
    Draws,
    FramesOf,
    Json,
    Land,
    Latents,
    Model,
    Negative,
    OutFile,
    Probes,
    Prompt,
    Quantiles,
    Scale,
    Seed,
    Solver,
    Steps,
    Targets,
    Tolerance,
    examples,
)
from densityguide.app.cli.program import app, tell

__all__: list[str] = []


@app.command(epilog=examples("models", "models --json"))
def models(as_json: Json = False) -> None:
    """List the shipped models."""
    from densityguide.app.commands.models import run, show

    tell(as_json, show, run())


@app.command(
    epilog=examples(
        "sample",
        "sample --model digits8 --q 0.35,0.5,0.65 --count 4",
        "sample --model digits8 --target 30,60,90 --land",
        "sample --budget -500,0,500",
        "sample --q 0.02,0.98 --frames 9",
        "sample --model world:mixture --json",
        "sample --q 0.5 --seed 7 --solver tsit5 --steps 30 --out seven",
        "sample --model diffusers:ddpm-cifar10-32 --count 4",
        "sample --model diffusers:sd21 --prompt 'a cat' --scale 5",
    )
)
def sample(
    model: Model = DEFAULT,
    q: Quantiles = None,
    target: Targets = None,
    budget: Budgets = None,
    land: Land = False,
    frames: FramesOf = None,
    count: Latents = None,
    seed: Seed = 0,
    steps: Steps = None,
    tolerance: Tolerance = None,
    solver: Solver = None,
    condition: Condition = None,
    prompt: Prompt = None,
    negative: Negative = None,
    scale: Scale = None,
    probes: Probes = None,
    out: Annotated[
        Path,
        typer.Option(
            parser=places.folder,
            metavar="FOLDER",
            help="Folder for grid.png, dial.html, samples.npz and report.json.",
        ),
    ] = Path("samples"),
    as_json: Json = False,
) -> int:
    """Decode latents at several log-densities: pictures and report."""
    from densityguide.app import dial
    from densityguide.app.commands.progress import bar
    from densityguide.app.commands.sample import run
    from densityguide.app.commands.sample_report import show
    from densityguide.app.requests import Request

    solving = (count, seed, steps, solver, condition, probes, tolerance)
    request = Request(model, *solving, prompt, negative, scale)
    with bar("sampling") as progress:
        results = run(request, dial.parse(q, target, budget, land, frames), out, progress)
    tell(as_json, show, *results)
    return NOTHING if all(row["failed"] == row["samples"] for row in results.report["rows"]) else 0


@app.command(
    epilog=examples(
        "density samples/samples.npz --count 16",
        "density pictures/ --model digits8 --json",
        "density a.png b.png --out log_density.npz",
        "density images.npz --array heldout --model ./my-digits",
        "density a.png --tolerance 0.01bpd --probes 8",
        "density points.npy --model world:mixture",
    )
)
def density(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            parser=places.source,
            metavar="FILES",
            help="One .npy or .npz file, pictures, or folders of pictures. Integers go through "
            "the model's transform, floats are taken on the model's own scale.",
            show_default=False,
        ),
    ],
    model: Model = DEFAULT,
    array: Array = None,
    count: Count = None,
    draws: Draws = 4,
    seed: Seed = 0,
    steps: Steps = None,
    tolerance: Tolerance = None,
    solver: Solver = None,
    condition: Condition = None,
    probes: Probes = None,
    out: OutFile = None,
    as_json: Json = False,
) -> int:
    """Measure log p of your own samples, in nats and bits/dim."""
    from densityguide.app.commands.density import run, show
    from densityguide.app.commands.progress import bar
    from densityguide.app.requests import Request

    request = Request(model, count, seed, steps, solver, condition, probes, tolerance)
    with bar("measuring") as progress:
        results = run(request, inputs, array, draws, out, progress)
    tell(as_json, show, *results)
    mean = results.report["mean"]
    return NOTHING if mean["failed"] == mean["samples"] else 0


@app.command(
    epilog=examples(
        "align",
        "align --model digits8 --count 1000 --json",
        "align --model digits8 --direction score --direction latent",
        "align --direction mask.npy --out alignment.npz",
    )
)
def align(
    model: Model = DEFAULT,
    direction: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="score (the prior's, towards smaller latents), latent (the latent itself), or a "
            ".npy file of the model's shape; may be repeated. [default: score]",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", help="Latents. [default: 256; above 256 dimensions 64]"),
    ] = None,
    seed: Seed = 0,
    steps: Steps = None,
    solver: Solver = None,
    condition: Condition = None,
    out: OutFile = None,
    as_json: Json = False,
) -> int:
    """Test whether moving the latent steers log p, with intervals."""
    from densityguide.app.commands.align import SCORE, run, show
    from densityguide.app.commands.progress import bar
    from densityguide.app.requests import Request

    request = Request(model, count, seed, steps, solver, condition)
    with bar("aligning") as progress:
        results = run(request, direction or [SCORE], out, progress)
    tell(as_json, show, *results)
    rows = results.report["directions"]
    return NOTHING if all(row["failed"] == row["latents"] for row in rows) else 0


@app.command(
    epilog=examples(
        "verify",
        "verify --model ./my-digits --data my.npz --array x --labels y",
        "verify --model diffusers:FOLDER --data pictures || echo suspect",
    )
)
def verify(
    model: Model = DEFAULT,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            parser=places.source,
            metavar="FILE",
            help="What the model was trained on, as `density` takes it; may be repeated. A "
            "sharper test than its own samples, which are taken without it.",
        ),
    ] = None,
    array: Array = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which array of that .npz file holds their classes: labels that are off by one "
            "are told. [default: none is read]",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Samples of each check. [default: 64; above 256 dimensions 32]"
        ),
    ] = None,
    seed: Seed = 0,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Steps of each solve. [default: 24]")
    ] = None,
    condition: Condition = None,
    as_json: Json = False,
) -> int:
    """Check how a model is wired up; exit status 1 if it is suspect."""
    from densityguide.app.commands.progress import bar
    from densityguide.app.commands.verify import run, show
    from densityguide.app.requests import Request

    request = Request(model, count, seed, steps, condition=condition)
    with bar("checking") as progress:
        report = run(request, data or (), array, progress, labels)
    tell(as_json, show, report)
    return 0 if report["passed"] else 1


@app.command(
    epilog=examples(
        "cost",
        "cost --model digits8 --q 0.5 --count 1000",
        "cost --model ./my-digits --solver tsit5 --steps 30 --json",
    )
)
def cost(
    model: Model = DEFAULT,
    q: Quantiles = None,
    count: Latents = None,
    steps: Steps = None,
    solver: Solver = None,
    condition: Condition = None,
    probes: Probes = None,
    as_json: Json = False,
) -> None:
    """Predict what `sample` with the same options will take."""
    from densityguide.app import dial
    from densityguide.app.commands.cost import run, show
    from densityguide.app.commands.progress import bar
    from densityguide.app.requests import Request

    request = Request(model, count, 0, steps, solver, condition, probes)
    with bar("timing", first="timing"):
        report = run(request, dial.quantiles(q) if q else ())
    tell(as_json, show, report)
