"""The program that the commands belong to."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

from densityguide import __version__
from densityguide.app.cli.options import examples

__all__ = ["app", "data_app", "print_json", "tell"]

app = typer.Typer(
    name="densityguide",
    help="Log-density as a dial for diffusion, flow matching and any CNF.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
data_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=examples("data emoji", "data digits --out digits8.npz"),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"densityguide {__version__}")
        raise typer.Exit()


@app.callback(
    epilog=examples(
        "sample",
        "sample --model world:mixture --q 0.4,0.6",
        "density pictures/ --model digits8",
        "COMMAND --help",
    )
)
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    from densityguide import xla
    from densityguide.app import cache

    # Photographs may be that large, and larger ones are refused by Pillow itself.
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    xla.prepare()
    cache.switch_on()


def tell(as_json: bool, show: Callable[..., None], report: dict[str, Any], *more: Any) -> None:
    """The report for a program, or by ``show`` for people."""
    from densityguide.app.commands import tables

    if as_json:
        print_json(report)
    else:
        show(tables.console(), report, *more)


def print_json(report: dict[str, Any]) -> None:
    """For programs: strict JSON, nothing else on standard output."""
    print(json.dumps(report, indent=1, allow_nan=False))
