"""``densityguide show``: what a picture says of itself, and the command that makes it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from densityguide.app import imprint
from densityguide.app.commands import tables
from densityguide.app.names import shown

__all__ = ["run", "show"]

# Columns of the table, as keys of a row, with their digits; those that no row has are left out.
HEADS = {
    "name": ("sample", 0),
    "q": ("q", 4),
    "target_nats": ("target (nats)", 1),
    "budget_nats": ("budget (nats)", 1),
    "log_snr": ("log-SNR", 2),
    "log_density_nats": ("log p (nats)", 1),
    "standard_error_nats": ("standard error", 1),
    "bits_per_dim": ("bits/dim", 3),
    "moved": ("moved", 4),
    "failed": ("failed", 0),
}


def run(path: Path) -> dict[str, Any]:
    """ValueError or FileNotFoundError, one line, for what is no picture of this program."""
    return imprint.read(path)._asdict()


def _cell(value: Any, digits: int) -> str:
    """A number, or whatever else a file may hold."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return tables.number(value, digits)
    return shown(value)


def show(console: Console, report: dict[str, Any]) -> None:
    """The rows, the settings, and a command to copy."""
    rows, settings = report["rows"], report["settings"]
    console.print(f"Drawn by {shown(report['software'])}")
    used = [key for key in HEADS if any(key in row for row in rows)]
    if used:
        table = tables.new(*(HEADS[key][0] for key in used))
        for row in rows:
            table.add_row(*(_cell(row.get(key), HEADS[key][1]) for key in used))
        console.print(table)
    console.print("Settings: " + ", ".join(f"{shown(k)} {shown(v)}" for k, v in settings.items()))
    console.print("To make it again:")
    console.print("  " + shown(report["command"]), soft_wrap=True)
