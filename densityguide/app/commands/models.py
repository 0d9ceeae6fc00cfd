"""``densityguide models``: what is shipped, a line each."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console

from densityguide.app import source
from densityguide.app.commands import tables
from densityguide.models import card, pretrained

__all__ = ["run", "show"]


def run() -> dict[str, Any]:
    """The shipped networks, and the worlds whose density is known."""
    networks = []
    for name in pretrained.names():
        known = card.read(pretrained.folder_of(name) / "card.json")
        networks.append(
            {
                "name": name,
                "shape": list(known.shape),
                "dimensions": math.prod(known.shape),
                "parameters": known.parameters,
                "levels": known.transform["levels"] or None,
                "prediction": known.prediction,
                "path": known.path,
                "description": known.description,
            }
        )
    worlds = [f"{source.PREFIX}{name}" for name in source.world_names()]
    return {"models": networks, "worlds": worlds}


def show(console: Console, report: dict[str, Any]) -> None:
    """Print one row a network."""
    table = tables.new("model", "shape", "D", "parameters", "what", words=("model", "what"))
    for row in report["models"]:
        shape = " x ".join(map(str, row["shape"]))
        numbers = f"{row['dimensions']:,}", f"{row['parameters']:,}"
        table.add_row(row["name"], shape, *numbers, row["description"])
    console.print(table)
    console.print(f"Worlds with a known density: {', '.join(report['worlds'])}")
    console.print(
        "Others: a folder that densityguide export wrote, or diffusers:FOLDER",
    )
