"""The report of ``densityguide sample`` as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from densityguide.app import dial
from densityguide.app.commands import tables
from densityguide.app.commands.tables import number, with_error

__all__ = ["show"]


HEADS = {"q": "q", "target_nats": "target (nats)", "budget_nats": "budget (nats)"}


def _table(report: dict[str, Any]) -> Table:
    images = report["model"]["levels"] is not None
    bits = ["bits/dim", "PNG bytes"] if images else []  # of integers
    asked = next(name for name in ("q", "target_nats", "budget_nats") if name in report["rows"][0])
    heads = ("log p (nats)", *bits, "tracked", "unmet nats", "evaluations", "seconds")
    table = tables.new(HEADS[asked], *heads, "status", words=("status",))
    for row in report["rows"]:
        table.add_row(
            dial.short(row[asked]) if asked == "q" else number(row[asked], 1),
            with_error(row["log_density_nats"], row["standard_error_nats"], 1),
            *(_bits(row) if images else []),
            number(row["tracked_nats"], 1),
            number(row["unmet_nats"], 1),
            str(row["evaluations"]),
            number(row["seconds"], 1),
            ", ".join(f"{name} {count}" for name, count in row["status"].items()) or "ok",
        )
    return table


def _bits(row: dict[str, Any]) -> tuple[str, str]:
    bits = with_error(row["bits_per_dim"], row["standard_error_bits_per_dim"], 3)
    return bits, number(row["png_bytes"], 0)


def _within(report: dict[str, Any]) -> str:
    widest = [row["measured_within_nats"] for row in report["rows"]]
    known = [value for value in widest if value is not None]
    return f"\u00b1 {max(known):.2g} nats" if known else "no accuracy"


def show(console: Console, report: dict[str, Any], paths: Sequence[Path]) -> None:
    """Print table, rank correlation, failures, times and files."""
    settings = report["settings"]
    what = f"{settings['count']:,} samples a row", f"seed {settings['seed']}"
    console.print(tables.headline(report, *what))
    console.print(_table(report))
    console.print(
        "log p: the model's own, found by encoding each sample; mean \u00b1 standard error over "
        f"the samples. Each is known to {_within(report)} (95 %).",
        highlight=False,
    )
    failed = sum(row["failed"] for row in report["rows"])
    tables.failures(console, failed, "raise --steps, or ask for less")
    tables.uncertain(console, report)
    if "spearman_of_minus_log_p_with_png_bytes" in report:
        value = number(report["spearman_of_minus_log_p_with_png_bytes"], 2)
        console.print(f"Spearman correlation of -log p with PNG bytes: {value}")
    if "largest_error_against_closed_form_nats" in report:
        value = number(report["largest_error_against_closed_form_nats"], 4)
        console.print(f"Largest error against the closed form: {value} nats")
    tables.seconds(console, report)
    tables.wrote(console, paths)
