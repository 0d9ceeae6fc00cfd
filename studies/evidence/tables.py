"""Columns of numbers and words: CSV files for programs, Markdown for people."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from studies.evidence.statistics import number

__all__ = ["Table", "cell", "concatenate", "from_csv", "from_rows", "markdown", "to_csv", "where"]

Table = dict[str, np.ndarray]  # columns of one length, of floats or of words


def from_rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The columns of rows that all have the same keys."""
    return _columns(pd.DataFrame(rows))


def concatenate(tables: Sequence[Table]) -> Table:
    """One table below the other."""
    return _columns(pd.concat([pd.DataFrame(table) for table in tables], ignore_index=True))


def where(table: Table, **values: Any) -> Table:
    """The rows whose columns have these values."""
    frame = pd.DataFrame(table)
    for name, value in values.items():
        frame = frame[frame[name] == value]
    return _columns(frame)


def to_csv(table: Table) -> bytes:
    """Numbers with seven digits, which float32 has."""
    frame = pd.DataFrame({name: _plain(column) for name, column in table.items()})
    text: str = frame.to_csv(index=False, float_format="%.7g", na_rep="nan", lineterminator="\n")
    return text.encode()


def from_csv(content: bytes) -> Table:
    """The table that `to_csv` wrote."""
    frame = pd.read_csv(io.BytesIO(content), keep_default_na=False, na_values=["nan"])
    return {name: _plain(column) for name, column in _columns(frame).items()}


def _plain(column: np.ndarray) -> np.ndarray:
    """Numbers of any kind as floats."""
    return column if column.dtype.kind in "OSU" else column.astype(float)


def _columns(frame: pd.DataFrame) -> Table:
    """Columns of words as NumPy's own, not as objects."""
    columns = {str(name): frame[name].to_numpy(copy=True) for name in frame}
    return {name: c.astype(str) if c.dtype == object else c for name, c in columns.items()}


def cell(value: Any) -> str:
    """A number in three digits, an interval as ``low to high``, words as they are."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)):
        return " to ".join(cell(end) for end in value)
    value = float(value)
    if not np.isfinite(value):
        return "-"
    return number(value)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, words: bool = False) -> str:
    """A table for people, its first column to the left, and all of them if they hold words; a bar
    in a word does not end its cell."""
    rest = (":--" if words else "--:",) * (len(heads) - 1)
    written = [[cell(c).replace("|", "\\|") for c in row] for row in (heads, *rows)]
    lines = [written[0], [":--", *rest], *written[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
