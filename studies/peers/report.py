"""The race's tables, from what was kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studies.peers.entrant import Entrant, lines_of
from studies.peers.measure import LEVELS, chosen, seconds

__all__ = ["pages"]

README = Path(__file__).with_name("README.md")


def _milliseconds(row: dict[str, Any]) -> str:
    if not row["times"]:
        return f"{1e3 * seconds(row):.3g} (once)"
    low, middle, high = 1e3 * np.quantile(row["times"], (0.25, 0.5, 0.75))
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "| :-- |" + " --: |" * (len(heads) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _to_reach(rows: list[dict[str, Any]], entrants: Sequence[Entrant]) -> list[str]:
    best = {entrant.name: chosen(rows, entrant) for entrant in entrants}
    first = {
        level: min((seconds(of[level]) for of in best.values() if level in of), default=np.nan)
        for level in LEVELS
    }
    lines = []
    for entrant in entrants:
        if not any(row["entrant"] == entrant.name for row in rows):
            continue
        cells = []
        for level in LEVELS:
            row = best[entrant.name].get(level)
            if row is None:
                cells.append("not reached")
                continue
            mark = "**" if seconds(row) == first[level] else ""
            share = seconds(row) / first[level]
            cells.append(f"{mark}{_milliseconds(row)}{mark}, {row['setting']} ({share:.1f})")
        lines.append([entrant.name, *cells])
    return _table(["ms to reach", *(f"{level:g} bits/dim" for level in LEVELS)], lines)


def _summary(subjects: dict[str, Any], entrants: Sequence[Entrant]) -> list[str]:
    """How many times longer the best of the others takes than the first entrant."""
    ours, *others = entrants
    lines = []
    for name, subject in subjects.items():
        best = {entrant.name: chosen(subject["rows"], entrant) for entrant in entrants}
        cells = []
        for level in LEVELS:
            reached = {
                e.name: seconds(best[e.name][level]) for e in others if level in best[e.name]
            }
            if level not in best[ours.name] or not reached:
                cells.append("-")
                continue
            quickest = min(reached, key=lambda name: reached[name])
            ratio = reached[quickest] / seconds(best[ours.name][level])
            cells.append(f"{ratio:.1f} ({quickest})")
        lines.append([name, *cells])
    head = f"time of the best of the others / {ours.name}'s, to reach"
    return _table([head, *(f"{level:g} bits/dim" for level in LEVELS)], lines)


def _defaults(
    rows: list[dict[str, Any]], entrants: Sequence[Entrant], peaks: dict[str, Any]
) -> list[str]:
    lines = []
    for entrant in entrants:
        own = [
            row
            for row in rows
            if row["entrant"] == entrant.name and row["setting"] == entrant.default
        ]
        if not own:
            continue
        row = own[0]
        error = "nan" if row["bits"] is None else f"{row['bits']:.2g}"
        nats = "nan" if row["nats"] is None else f"{row['nats']:.2g}"
        held = peaks.get(entrant.name)
        lines.append(
            [
                entrant.name,
                entrant.default,
                _milliseconds(row),
                error,
                nats,
                f"{max(row['first'] - seconds(row), 0.0):.2g}",
                "-" if held is None else f"{held:.0f}",
                str(lines_of(entrant.written)),
                entrant.without,
            ]
        )
    heads = ["at its default", "setting", "ms", "bits/dim", "nats", "s more in the first call"]
    return _table([*heads, "MiB", "lines", "without"], lines)


def pages(kept: dict[str, Any], entrants: Sequence[Entrant], page: Path = README) -> str:
    """The tables of all subjects, written between the marks ``<!-- race -->`` of ``page``."""
    text = [*_summary(kept["subjects"], entrants), ""]
    for name, subject in kept["subjects"].items():
        text += [f"### {name}", "", subject["about"], ""]
        text += [*_to_reach(subject["rows"], entrants), ""]
        text += [*_defaults(subject["rows"], entrants, subject["peaks"]), ""]
    told = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    text += [f"Measured {kept['machine']}. Versions: {told}."]
    body = "\n".join(text)
    if page.exists():
        old = page.read_text("utf-8")
        head, mark, rest = old.partition("<!-- race -->\n")
        tail = rest.partition("<!-- /race -->")[2]
        if not mark:
            raise ValueError(f"{page} has no <!-- race --> ... <!-- /race -->: add the marks")
        page.write_text(f"{head}{mark}{body}\n<!-- /race -->{tail}", "utf-8")
    return body
