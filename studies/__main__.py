"""``python -m studies``: what is measured, and by which command."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from densityguide import xla
from densityguide.app.commands import tables
from densityguide.app.commands.endings import ended
from densityguide.disk import settings

ROOT = Path(__file__).parents[1]
BENCHMARKS = sorted(
    path.stem for path in (ROOT / "studies/benchmarks").glob("*.py") if path.stem[0] != "_"
)

app = typer.Typer(
    help="Evidence and benchmarks of densityguide, each measured anew by one command.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def evidence(
    configs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[QUESTION.toml ...]", help="Default: all of configs/evidence."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder of tables and pages. [docs/evidence; evidence-small]"),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="Fewer models and samples: rough, in half an hour.")
    ] = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Claims as JSON.")] = False,
) -> None:
    """Put the questions to the shipped models; a run that was stopped goes on."""
    for config in configs or sorted((ROOT / "configs/evidence").glob("*.toml")):
        values = settings.override(settings.read(config), changes or [])
        folder = out or ("evidence-small" if small else "docs/evidence")
        status, found = ended(partial(_answer, values, folder, small))
        if found is not None:
            print(json.dumps(found, indent=1)) if as_json else _show(found)
        if status:
            raise typer.Exit(status)


def _answer(values: dict[str, Any], out: str, small: bool) -> dict[str, Any]:
    from studies import evidence

    return evidence.run(values, out, small=small, tell=partial(print, file=sys.stderr, flush=True))


def _show(found: dict[str, Any]) -> None:
    claims = tables.new("claim", "found", "verdict", words=("claim", "found", "verdict"))
    for claim in found["claims"]:
        claims.add_row(claim["text"], claim["found"], claim["verdict"])
    tables.console().print(claims)


@app.command()
def networks(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME ...]", help="Default: those not measured yet."),
    ] = None,
    small: Annotated[bool, typer.Option(help="Few samples and steps.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the table.")] = ROOT / "studies/networks",
) -> None:
    """What it takes to make flows of the networks of others; a run that was stopped goes on."""
    study = import_module("studies.networks.study")
    study.run(names or [], small, out, tell=partial(print, file=sys.stderr, flush=True))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def benchmark(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(BENCHMARKS)}.")],
) -> None:
    """Run one benchmark; what follows its name goes to it."""
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    sys.argv = [name, *context.args]
    runpy.run_module(f"studies.benchmarks.{name}", run_name="__main__")


@app.command()
def device(
    out: Annotated[Path, typer.Option(help="Folder of device.json and device.md.")] = Path(
        "device-figures"
    ),
    small: Annotated[bool, typer.Option("--small", help="A rehearsal of a minute.")] = False,
    seconds: Annotated[float, typer.Option(help="Begin nothing new after so many.")] = 480.0,
) -> None:
    """Throughput, error by precision and repeatability of this machine's device."""
    from studies import device

    device.run(out, small=small, seconds=seconds)


@app.command()
def peers(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SUBJECT ...]", help="Default: all of them.")
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="A rehearsal of a minute.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of peers.json; default: studies/peers.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Stop after so many; again goes on.")] = 280.0,
) -> None:
    """Race against what one could use instead (extra `peers`)."""
    try:
        from studies.peers import subjects
        from studies.peers.run import run
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install -e '.[peers]'") from None
    for name in names or ():
        if name not in subjects.NAMES:
            known = ", ".join(subjects.NAMES)
            raise ValueError(f"unknown subject {name!r}: choose one of {known}")
    run(names or subjects.NAMES, out, small, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status; bad input is one line on standard error."""
    xla.prepare()
    try:
        return int(app(arguments, prog_name="studies", standalone_mode=False) or 0)
    except typer.TyperException as error:
        message = error.format_message()
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
