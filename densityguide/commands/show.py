"""The report of ``densityguide sample`` as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from densityguide.commands import tables
from densityguide.commands.tables import number, with_error

__all__ = ["show"]


def _table(report: dict[str, Any]) -> Table:
    images = report["model"]["levels"] is not None
    png = ["PNG bytes"] if images else []
    table = tables.new(
        "q", "log p (nats)", "bits/dim", *png, "unmet nats", "evaluations", "seconds"
    )
    for row in report["rows"]:
        table.add_row(
            f"{row['q']:g}",
            with_error(row["log_density_nats"], row["standard_error_nats"], 1),
            with_error(row["bits_per_dim"], row["standard_error_bits_per_dim"], 3),
            *([number(row["png_bytes"], 0)] if images else []),
            number(row["unmet_nats"], 1),
            str(row["evaluations"]),
            number(row["seconds"], 1),
        )
    return table


def show(console: Console, report: dict[str, Any], paths: Sequence[Path]) -> None:
    """Print table, rank correlation, failures, times and files."""
    settings = report["settings"]
    what = f"{settings['count']:,} samples per q", f"seed {settings['seed']}"
    console.print(tables.headline(report, *what))
    console.print(_table(report))
    failed = sum(row["failed"] for row in report["rows"])
    tables.failures(console, failed, "raise --steps, or ask for q nearer to 0.5")
    if "spearman_of_minus_log_p_with_png_bytes" in report:
        value = number(report["spearman_of_minus_log_p_with_png_bytes"], 2)
        console.print(f"Spearman correlation of -log p with PNG bytes: {value}")
    if "largest_error_against_closed_form_nats" in report:
        value = number(report["largest_error_against_closed_form_nats"], 4)
        console.print(f"Largest error against the closed form: {value} nats")
    tables.seconds(console, report)
    tables.wrote(console, paths)
