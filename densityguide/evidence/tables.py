"""Columns of numbers and words: CSV files for programs, Markdown for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from densityguide.evidence.statistics import number

__all__ = ["Table", "cell", "concatenate", "from_csv", "from_rows", "markdown", "to_csv", "where"]

Table = dict[str, np.ndarray]  # columns of one length, of floats or of words


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The columns of rows that all have the same keys."""
    return {name: np.asarray([row[name] for row in rows]) for name in rows[0]} if rows else {}


def concatenate(tables: Sequence[Table]) -> Table:
    """One table below the other."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def where(table: Table, **values: Any) -> Table:
    """The rows whose columns have these values."""
    keep = np.ones(len(next(iter(table.values()))), bool)
    for name, value in values.items():
        keep &= table[name] == value
    return {name: column[keep] for name, column in table.items()}


def to_csv(table: Table) -> bytes:
    """RFC 4180; numbers with seven digits, which float32 has."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([value if isinstance(value, str) else f"{value:.7g}" for value in row])
    return text.getvalue().encode()


def from_csv(content: bytes) -> Table:
    """The table that `to_csv` wrote."""
    head, *rows = csv.reader(io.StringIO(content.decode()))
    return {name: _column([row[index] for row in rows]) for index, name in enumerate(head)}


def _column(cells: list[str]) -> np.ndarray:
    try:
        return np.asarray([float(cell) for cell in cells])
    except ValueError:
        return np.asarray(cells)


def cell(value: Any) -> str:
    """Three digits of a number, ``low .. high`` of an interval, words as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)):
        return " to ".join(cell(end) for end in value)
    value = float(value)
    if not np.isfinite(value):
        return "-"
    return number(value)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, words: bool = False) -> str:
    """A table for people, its first column to the left, and all of them if they hold words."""
    rest = (":--" if words else "--:",) * (len(heads) - 1)
    lines = [heads, [":--", *rest], *[[cell(c) for c in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
