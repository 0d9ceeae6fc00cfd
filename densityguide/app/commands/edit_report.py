"""What ``densityguide edit`` found, as a page of pictures and as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from densityguide.app.commands import tables
from densityguide.app.names import shown
from densityguide.app.source import Source
from densityguide.plotting.captioned import Row, captioned

__all__ = ["page", "show"]


def _depth(report: dict[str, Any]) -> str:
    depth = report["settings"]["depth"]
    return "the noise end" if depth is None else f"log-SNR {depth:g}"


def page(
    loaded: Source, first: np.ndarray, drawn: np.ndarray, report: dict[str, Any]
) -> Image.Image:
    """A row for each given sample: itself, and what it became at each q."""
    rows, depth = [], _depth(report)
    for sample, image, edits in zip(report["samples"], first, drawn, strict=True):
        trip = f"round trip {tables.number(sample['round_trip'], 3)}"
        captions = [("given", _log_p(sample), trip)]
        for one in sample["edits"]:
            moved = f"moved {tables.number(one['moved'], 3)}"
            captions.append((f"q {one['q']:g}", _log_p(one), moved))
        title = Path(sample["name"]).name if not sample["name"].isdecimal() else ""
        rows.append(Row(np.concatenate([image[None], edits]), captions, title, sample.get("short")))
    return captioned(
        rows,
        loaded.levels,
        title=f"{loaded.name}: your own pictures under the dial",
        subtitle=f"Encoded to {depth}, and decoded at each q; larger q is larger log p.",
        note="log p in nats, found by encoding; moved: RMS distance from the given picture; round "
        "trip: without guidance",
    )


def _log_p(row: dict[str, Any]) -> str:
    return f"log p {tables.number(row['log_density_nats'], 0)}"


def show(console: Console, report: dict[str, Any], paths: Sequence[Path]) -> None:
    """Print a table with a row for each picture and q, and how usual the pictures are."""
    settings, samples = report["settings"], report["samples"]
    what = f"{len(samples):,} given", f"encoded to {_depth(report)}", f"seed {settings['seed']}"
    console.print(tables.headline(report, *what))
    images = report["model"]["levels"] is not None
    table = tables.new(
        "sample",
        "q",
        "log p (nats)",
        *(["bits/dim"] if images else []),
        "moved",
        "unmet nats",
        "status",
        words=("sample", "status"),
    )
    for row in samples:
        head = f"round trip {tables.number(row['round_trip'], 4)}"
        table.add_row(shown(row["name"]), "given", *_cells(row, images), "-", "-", head)
        for one in row["edits"]:
            moved, unmet = tables.number(one["moved"], 4), tables.number(one["unmet_nats"], 1)
            status = ", ".join(one["status"]) or "ok"
            table.add_row("", f"{one['q']:g}", *_cells(one, images), moved, unmet, status)
    console.print(table)
    console.print(
        "\u00b1: 95 % interval of the measurement (probes, solver). moved and round trip: root "
        "mean square distances from what was given; the latter is what the solver alone changes.",
    )
    for row in samples:
        if row["cut"]:
            console.print(f"{shown(row['name'])}: {row['cut']}")
    for row in samples:
        if row["lost"]:
            console.print(
                f"{shown(row['name'])}: the solver alone moved it by "
                f"{tables.number(row['round_trip'], 3)}, which is no guidance's doing: take "
                f"--steps {4 * settings['steps']}, or a --depth nearer to the data",
                style="yellow",
            )
    for row in samples:
        if "verdict" in row:
            console.print(f"{shown(row['name'])}: {row['verdict']}.")
    if report["own_samples"] and images:
        level = report["model"]["noise_level"]
        console.print(
            f"Compared with the noise added that own samples end with, sigma / alpha {level:.2g}."
        )
    tables.seconds(console, report)
    tables.wrote(console, paths)


def _cells(row: dict[str, Any], images: bool) -> list[str]:
    nats = tables.with_error(row["log_density_nats"], row["total_error_nats"], 1)
    return [nats, tables.number(row["bits_per_dim"], 3)] if images else [nats]
