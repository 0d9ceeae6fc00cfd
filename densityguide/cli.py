"""The command line: ``densityguide sample``, ``cost``, ``train``, ``export``, ``data``.

Bad input ends in one line on stderr and exit status 2; Ctrl-C in status 130. Anything else that
goes wrong is a defect and keeps its traceback.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from densityguide import __version__

__all__ = ["app", "main"]

PACKAGE = str(Path(__file__).parent)
DIAL = ("0.3,0.4,0.5,0.6,0.7",)

Model = Annotated[
    str,
    typer.Option(
        help="emoji32, digits8, world:mixture, world:gaussian, a model folder, or "
        "diffusers:FOLDER, a folder saved by Hugging Face diffusers."
    ),
]
Quantiles = Annotated[
    list[str] | None,
    typer.Option("--q", help="Quantiles in (0, 1), by commas or repeated; larger is smoother."),
]
Count = Annotated[int | None, typer.Option(help="Latents; every q uses the same. [8; worlds 128]")]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Steps of the solver. [64 evaluations; up to 256 dimensions 128; worlds 384]"
    ),
]
Solver = Annotated[
    str | None,
    typer.Option(
        help="adams1 to adams6, euler, heun, midpoint, ralston, bosh3, tsit5, dopri5, dopri8. "
        "[adams4; up to 256 dimensions adams2]"
    ),
]
Condition = Annotated[
    str | None,
    typer.Option(help="Of a model of diffusers: a class number, or a text embedding as .npy file."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the report as JSON instead of the table.")
]

app = typer.Typer(
    name="densityguide",
    help="Log-density as a dial for diffusion, flow matching and any CNF.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data", help="Build a data set and print its size and checksum.")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"densityguide {__version__}")
        raise typer.Exit()


@app.callback(
    epilog="""\b
Examples:
  densityguide sample
  densityguide sample --model world:mixture --q 0.4,0.6
  densityguide COMMAND --help
"""
)
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    from densityguide.commands import cache

    cache.switch_on()


@app.command(
    epilog="""\b
Examples:
  densityguide sample
  densityguide sample --model digits8 --q 0.35,0.5,0.65 --count 4
  densityguide sample --model world:mixture --json
  densityguide sample --q 0.5 --seed 7 --solver tsit5 --steps 30 --out seven
  densityguide sample --model diffusers:ddpm-cifar10-32 --count 4
"""
)
def sample(
    model: Model = "emoji32",
    q: Quantiles = None,
    count: Count = None,
    seed: Annotated[int, typer.Option(help="Seed of latents and probes.")] = 0,
    steps: Steps = None,
    solver: Solver = None,
    condition: Condition = None,
    out: Annotated[
        Path, typer.Option(help="Folder for grid.png, samples.npz and report.json.")
    ] = Path("samples"),
    as_json: Json = False,
) -> None:
    """Decode the same latents at several log-densities: a picture, the arrays, a report."""
    from rich.console import Console

    from densityguide.commands import show
    from densityguide.commands.progress import bar
    from densityguide.commands.requests import Request
    from densityguide.commands.sample import run

    request = Request(model, tuple(q) if q else DIAL, count, seed, steps, solver, condition)
    with bar("sampling") as progress:
        results = run(request, out, progress)
    if as_json:
        print(json.dumps(results.report, indent=1, allow_nan=False))
    else:
        show.show(Console(width=None if sys.stdout.isatty() else 120), *results)


@app.command(
    epilog="""\b
Examples:
  densityguide cost
  densityguide cost --model digits8 --q 0.5 --count 1000
  densityguide cost --model ./my-digits --solver tsit5 --steps 30 --json
"""
)
def cost(
    model: Model = "emoji32",
    q: Quantiles = None,
    count: Count = None,
    steps: Steps = None,
    solver: Solver = None,
    condition: Condition = None,
    as_json: Json = False,
) -> None:
    """What sample with the same options will cost: operations, memory and seconds."""
    from rich.console import Console

    from densityguide.commands.cost import run, show
    from densityguide.commands.requests import Request

    report = run(Request(model, tuple(q) if q else DIAL, count, 0, steps, solver, condition))
    if as_json:
        print(json.dumps(report, indent=1, allow_nan=False))
    else:
        show(Console(width=None if sys.stdout.isatty() else 120), report)


@app.command(
    epilog="""\b
Examples:
  densityguide train --config configs/digits8.toml
  densityguide train --config configs/emoji32.toml --out runs/emoji32
"""
)
def train(
    config: Annotated[Path, typer.Option(help="Configuration in TOML.")],
    out: Annotated[
        Path | None, typer.Option(help="Run folder; a run in it is resumed. [runs/NAME]")
    ] = None,
    font: Annotated[
        Path | None, typer.Option(help="Font file of emoji32, if not installed.")
    ] = None,
    stop_at: Annotated[int | None, typer.Option(help="Stop after this step, resumable.")] = None,
) -> None:
    """Train a network, or go on with a run that was stopped or killed."""
    from densityguide.commands import training

    training.train(config, out, font, stop_at)


@app.command(
    epilog="""\b
Examples:
  densityguide export runs/emoji32 emoji32
  densityguide sample --model ./emoji32
"""
)
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    folder: Annotated[Path, typer.Argument(help="Model folder to write.")],
    storage: Annotated[str, typer.Option(help="float16 or float32.")] = "float16",
    samples: Annotated[int, typer.Option(help="Samples for the card's figures; 0 for none.")] = 64,
    font: Annotated[
        Path | None, typer.Option(help="Font file of emoji32, if not installed.")
    ] = None,
) -> None:
    """Turn a training run into a model folder: averaged weights and a model card."""
    from densityguide.commands import training

    training.export(run, folder, storage, samples, font)


@data_app.command(
    epilog="""\b
Examples:
  densityguide data emoji
  densityguide data emoji --font NotoColorEmoji.ttf --out emoji32.npz
"""
)
def emoji(
    font: Annotated[Path | None, typer.Option(help="Font file. [the installed one]")] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("emoji32.npz"),
) -> None:
    """32x32 colour emoji from the Noto Color Emoji font."""
    from densityguide.commands import dataset

    dataset.build("emoji32", out, font)


@data_app.command(
    epilog="""\b
Examples:
  densityguide data digits
  densityguide data digits --out digits8.npz
"""
)
def digits(
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("digits8.npz"),
) -> None:
    """8x8 handwritten digits from scikit-learn."""
    from densityguide.commands import dataset

    dataset.build("digits8", out, None)


def _is_ours(error: BaseException) -> bool:
    """Whether the package itself raised this, as it does for bad input."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(PACKAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        status = int(app(arguments, standalone_mode=False) or 0)
        if status == 130:  # typer's own reading of Ctrl-C
            print("interrupted", file=sys.stderr)
        return status
    except (ValueError, FileNotFoundError) as error:
        if not _is_ours(error):
            raise
        message = str(error)
    except typer.TyperException as error:  # unknown options, missing values
        message = error.format_message()
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
