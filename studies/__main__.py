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
    out: Annotated[str, typer.Option(help="Folder of tables and pages.")] = "docs/evidence",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Claims as JSON.")] = False,
) -> None:
    """Put the questions to the shipped models; a run that was stopped goes on."""
    for config in configs or sorted((ROOT / "configs/evidence").glob("*.toml")):
        values = settings.override(settings.read(config), changes or [])
        status, found = ended(partial(_answer, values, out))
        if found is not None:
            print(json.dumps(found, indent=1)) if as_json else _show(found)
        if status:
            raise typer.Exit(status)


def _answer(values: dict[str, Any], out: str) -> dict[str, Any]:
    from studies import evidence

    return evidence.run(values, out, tell=partial(print, file=sys.stderr, flush=True))


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
