"""Numbers and tables for people."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from densityguide.app.names import shown

__all__ = [
    "console",
    "failures",
    "headline",
    "new",
    "number",
    "seconds",
    "uncertain",
    "with_error",
    "wrote",
]


def console() -> Console:
    """Standard output: as wide as the terminal, and wide enough for every table in a pipe. Square
    brackets in names are no markup."""
    width = None if sys.stdout.isatty() else 120
    return Console(width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)


def new(*heads: str, words: Sequence[str] = ("",)) -> Table:
    """An empty table; columns named in ``words`` stand left and fold where a terminal is narrow,
    numbers stand right and whole."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        text = head in words
        # A heading without a name is over short words, which do not fold.
        whole = not (text and head)
        table.add_column(head, justify="left" if text else "right", no_wrap=whole, overflow="fold")
    return table


def number(value: float | None, digits: int) -> str:
    """With thousands' commas; a dash for what is not there."""
    return "-" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def with_error(value: float | None, error: float | None, digits: int) -> str:
    """``value +- error``, or a dash."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{number(value, digits)} \u00b1 {number(error, digits)}"


def headline(report: dict[str, Any], *what: str) -> str:
    """The model and how it was asked: the first line of every table."""
    settings = report["settings"]
    parts = [*what, f"{settings['solver']} x {settings['steps']} steps"]
    if "trace" in settings:
        parts.append(f"trace {settings['trace']}")
    return f"{shown(report['model']['name'])}: " + ", ".join(parts)


def failures(console: Console, failed: int, advice: str) -> None:
    """A warning, where there is something to warn of."""
    if failed:
        subject = "1 sample ended" if failed == 1 else f"{failed:,} samples ended"
        console.print(
            f"{subject} without a finite log p, left out of the means: {advice}", style="yellow"
        )


def uncertain(console: Console, report: dict[str, Any]) -> None:
    """What ``--tolerance`` came to, where one was asked for."""
    if "beyond_tolerance" in report:
        settings, count = report["settings"], report["beyond_tolerance"]
        told = f"{settings['steps']} steps for a tolerance of {settings['tolerance']:.3g} nats"
        if not count:
            console.print(f"{told}: every log p is that certain")
            return
        subject = "1 sample" if count == 1 else f"{count:,} samples"
        more = "--draws or --probes" if settings.get("draws") else "--probes"
        console.print(
            f"{told}: log p of {subject} is less certain; add {more}, or narrow --tolerance",
            style="yellow",
        )


def seconds(console: Console, report: dict[str, Any]) -> None:
    """Where the time went."""
    spent = report["seconds"]
    parts = ", ".join(f"{name} {spent[name]:.1f}" for name in spent if name != "total")
    console.print(
        f"Seconds: {parts}; {spent['total']:.1f} in all "
        f"(compilation cache {report['compilation_cache']})"
    )


def wrote(console: Console, paths: Sequence[Path]) -> None:
    """Where the results lie; never wrapped, so that a path can be copied."""
    if paths:
        console.print("Wrote " + ", ".join(map(shown, paths)), soft_wrap=True)
