"""The report as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["show"]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}"


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    return f"{_number(value, digits)} \u00b1 {_number(error, digits)}"


def _table(report: dict[str, Any]) -> Table:
    rows = report["rows"]
    images = report["model"]["levels"] is not None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    heads = ["q", "log p (nats)", "bits/dim"]
    heads += ["PNG bytes"] if images else []
    heads += ["unmet nats", "evaluations", "seconds"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        cells = [
            f"{row['q']:g}",
            _with_error(row["log_density_nats"], row["standard_error_nats"], 1),
            _with_error(row["bits_per_dim"], row["standard_error_bits_per_dim"], 3),
        ]
        cells += [_number(row["png_bytes"], 0)] if images else []
        cells += [
            _number(row["unmet_nats"], 1),
            str(row["evaluations"]),
            _number(row["seconds"], 1),
        ]
        table.add_row(*cells)
    return table


def show(console: Console, report: dict[str, Any], paths: Sequence[Path]) -> None:
    """Print table, rank correlation, failures, times and files."""
    settings, seconds = report["settings"], report["seconds"]
    console.print(
        f"{report['model']['name']}: {settings['count']} samples per q, seed {settings['seed']}, "
        f"{settings['solver']} x {settings['steps']} steps, trace {settings['trace']}",
        highlight=False,
    )
    console.print(_table(report), highlight=False)
    failed = sum(row["failed"] for row in report["rows"])
    if failed:
        console.print(
            f"{failed} samples ended without a finite log p and are left out of the means: "
            "raise --steps, or ask for q nearer to 0.5",
            style="yellow",
            highlight=False,
        )
    if "spearman_of_minus_log_p_with_png_bytes" in report:
        value = _number(report["spearman_of_minus_log_p_with_png_bytes"], 2)
        console.print(f"Spearman correlation of -log p with PNG bytes: {value}", highlight=False)
    if "largest_error_against_closed_form_nats" in report:
        value = _number(report["largest_error_against_closed_form_nats"], 4)
        console.print(f"Largest error against the closed form: {value} nats", highlight=False)
    parts = ", ".join(f"{name} {seconds[name]:.1f}" for name in seconds if name != "total")
    console.print(
        f"Seconds: {parts}; {seconds['total']:.1f} in all "
        f"(compilation cache {report['compilation_cache']})",
        highlight=False,
    )
    console.print("Wrote " + ", ".join(map(str, paths)), highlight=False, soft_wrap=True)
