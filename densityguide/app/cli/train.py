"""Commands that make a model: ``train``, ``export``, ``calibrate``, ``data``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from densityguide.app.cli import places
from densityguide.app.cli.options import Example, Font, Json, Seed, examples
from densityguide.app.cli.program import app, data_app, tell
from densityguide.app.commands import examples as texts

__all__: list[str] = []

WRITTEN = typer.Option(parser=places.file, metavar="FILE", help="File to write.")


@app.command(
    epilog=examples(
        "train --example > my.toml",
        "train --config my.toml",
        "train --config my.toml --out runs/second",
    )
    + "\n\nExit status: 0 finished, 2 refused, 74 no room, 75 stopped by SIGTERM, 130 by Ctrl-C; "
    "after the last three the same command goes on."
)
def train(
    config: Annotated[
        Path | None,
        typer.Option(parser=places.source, metavar="FILE", help="Configuration in TOML."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=places.folder,
            metavar="FOLDER",
            help="Run folder; a run in it is resumed. [default: runs/NAME]",
        ),
    ] = None,
    font: Font = None,
    stop_at: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after this step, resumable.")
    ] = None,
    example: Example = False,
) -> None:
    """Train a network, or go on with a run that was stopped."""
    if example:
        print(texts.text("train"), end="")
        return
    if config is None:
        raise typer.BadParameter(
            "expected --config FILE: densityguide train --example > my.toml makes one to change"
        )
    from densityguide.app.commands import training

    raise typer.Exit(training.train(config, out, font, stop_at))


@app.command(epilog=examples("export runs/emoji32 emoji32", "sample --model ./emoji32"))
def export(
    run: Annotated[
        Path,
        typer.Argument(parser=places.source, metavar="RUN", help="Folder of a training run."),
    ],
    folder: Annotated[
        Path,
        typer.Argument(parser=places.folder, metavar="FOLDER", help="Model folder to write."),
    ],
    storage: Annotated[str, typer.Option(metavar="DTYPE", help="float16 or float32.")] = "float16",
    samples: Annotated[
        int, typer.Option(metavar="N", help="Samples for the card's figures; 0 for none.")
    ] = 64,
    font: Font = None,
) -> None:
    """Turn a training run into a model folder: weights and card."""
    from densityguide.app.commands import training

    raise typer.Exit(training.export(run, folder, storage, samples, font))


@app.command(epilog=examples("calibrate ./my-model", "calibrate ./my-model --latents 8"))
def calibrate(
    folder: Annotated[
        Path,
        typer.Argument(parser=places.source, metavar="FOLDER", help="Model folder, as exported."),
    ],
    samples: Annotated[
        int, typer.Option(metavar="N", help="Samples of the model for each calibration.")
    ] = 64,
    latents: Annotated[
        int, typer.Option(metavar="N", help="Latents for the range of the dial.")
    ] = 16,
    classes: Annotated[
        bool, typer.Option(help="Measure each class of a model that has some.")
    ] = True,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Measure what a model's folder holds: after every training.

    Writes the calibration of each class, with the range of q in which the model's own log p was
    seen to rise (outside it, quantile guidance warns), and into the card the solver's error by
    steps. Minutes for small networks, an hour for pictures of 32x32 with classes.
    """
    from densityguide.app.commands.calibrate import run, show
    from densityguide.app.commands.progress import bar
    from densityguide.disk.interrupts import STOPPED, Preempted

    with bar("measuring", first="compiling") as progress:
        try:
            report = run(folder, samples, latents, classes, seed, progress)
        except Preempted:
            report = None
    if report is None:
        typer.echo("stopped by SIGTERM: nothing was written", err=True)
        raise typer.Exit(STOPPED)
    tell(as_json, show, report)


@data_app.command(
    epilog=examples("data emoji", "data emoji --font NotoColorEmoji.ttf --out emoji32.npz")
)
def emoji(
    font: Annotated[
        Path | None,
        typer.Option(
            parser=places.source, metavar="FILE", help="The font. [default: the installed one]"
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(parser=places.file, metavar="FILE", help="File to write.")
    ] = Path("emoji32.npz"),
) -> None:
    """32x32 colour emoji from the Noto Color Emoji font."""
    from densityguide.app.commands import dataset

    dataset.build("emoji32", out, font)


@data_app.command(epilog=examples("data digits", "data digits --out digits8.npz"))
def digits(
    out: Annotated[
        Path, typer.Option(parser=places.file, metavar="FILE", help="File to write.")
    ] = Path("digits8.npz"),
) -> None:
    """8x8 handwritten digits from scikit-learn."""
    from densityguide.app.commands import dataset

    dataset.build("digits8", out, None)


@data_app.command(epilog=examples("data photos", "data photos --out photos16.npz"))
def photos(
    out: Annotated[
        Path, typer.Option(parser=places.file, metavar="FILE", help="File to write.")
    ] = Path("photos16.npz"),
) -> None:
    """16x16 patches of scikit-learn's two photographs."""
    from densityguide.app.commands import dataset

    dataset.build("photos16", out, None)


@data_app.command(epilog=examples("data points spiral", "data points moons --out moons2d.npz"))
def points(
    shape: Annotated[str, typer.Argument(metavar="SHAPE", help="spiral, moons or rings.")],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=places.file, metavar="FILE", help="File to write. [default: SHAPE2d.npz]"
        ),
    ] = None,
) -> None:
    """Points in the plane whose density is known."""
    from densityguide.app.commands import dataset

    name = dataset.plane(shape)
    dataset.build(name, out or Path(f"{name}.npz"), None)


@data_app.command(
    epilog=examples("data images holiday --shape 32x32x3", "data images holiday.npz --out new.npz")
)
def images(
    source: Annotated[
        Path,
        typer.Argument(
            parser=places.source, metavar="SOURCE", help="A folder of pictures, or an npz file."
        ),
    ],
    shape: Annotated[
        str | None,
        typer.Option(metavar="HxWxC", help="Cut and scale a folder's pictures to it."),
    ] = None,
    out: Annotated[
        Path, typer.Option(parser=places.file, metavar="FILE", help="File to write.")
    ] = Path("images.npz"),
) -> None:
    """Pictures of your own, checked and split for training."""
    from densityguide.app.commands import dataset

    dataset.build(dataset.own(source), out, None, dataset.sides(shape))


app.add_typer(data_app, name="data", help="Build a data set and print its size and checksum.")
