"""Histograms one below the other over one scale, as inline SVG for a page.

Places along them are percentages, so that they are as wide as the page and letters keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

__all__ = ["Scale", "Spread", "axis", "scale", "svg"]

FEWEST, MOST = 12, 64  # bars of a row
HEIGHT, FOOT = 74.0, 26.0  # pixels of a row and of the scale below all
TICKS = 6  # about
WIDE = 12.0  # range over the inner 90 % from which on the scale leaves the ends out


class Spread(NamedTuple):
    """One row: ``values`` [N], ``label`` at its left and the lines that are ``told`` at its right;
    ``mean`` and the half-width of its interval are marked where they are finite."""

    label: str
    values: np.ndarray
    told: Sequence[str] = ()
    mean: float = math.nan
    error: float = math.nan


class Scale(NamedTuple):
    """From ``low`` to ``high`` in ``bins``, with a number at each of ``ticks``."""

    low: float
    high: float
    ticks: list[float]
    bins: int

    def place(self, value: float) -> float:
        """Percent of the way."""
        return 100.0 * (value - self.low) / (self.high - self.low)


def scale(spreads: Sequence[Spread]) -> Scale:
    """One that holds all finite values, or all but far ends that leave no room for the rest."""
    known = np.concatenate([spread.values for spread in spreads]).astype(np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return Scale(0.0, 1.0, [], FEWEST)
    low, high = float(known.min()), float(known.max())
    inner = np.percentile(known, [5.0, 95.0])
    if high - low > WIDE * (inner[1] - inner[0]) > 0.0:
        low, high = (float(end) for end in np.percentile(known, [0.5, 99.5]))
    room = 0.02 * (high - low) or max(abs(low), 1.0) * 0.01
    low, high = low - room, high + room
    step = _step((high - low) / TICKS)
    first = math.ceil(low / step)
    ticks = [step * n for n in range(first, math.floor(high / step) + 1)]
    bins = round(3.0 * math.sqrt(known.size / len(spreads)))
    return Scale(low, high, ticks, min(max(bins, FEWEST), MOST))


def _step(size: float) -> float:
    """The next of 1, 2, 5, 10, .. times a power of ten."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= size)


def _written(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step)))
    return f"{value:,.{digits}f}".replace("-", "\u2212")


def svg(spread: Spread, over: Scale) -> tuple[str, int]:
    """The bars of one row, and how many of its values lie outside the scale."""
    values = spread.values[np.isfinite(spread.values)].astype(np.float64)
    inside = values[(values >= over.low) & (values <= over.high)]
    counts, edges = np.histogram(inside, over.bins, (over.low, over.high))
    most = max(int(counts.max()), 1)
    parts = [*(_tick(over.place(tick)) for tick in over.ticks), _band(spread, over)]
    for count, low, high in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if count:
            tall = max((HEIGHT - 12.0) * count / most, 1.5)
            x, wide = over.place(low), over.place(high) - over.place(low)
            step = (over.high - over.low) / over.bins
            told = f"{_written(low, step)} to {_written(high, step)}: {count:,}"
            parts.append(
                f'<rect class="bar" x="{x:.3f}%" width="{0.86 * wide:.3f}%" '
                f'y="{HEIGHT - tall:.1f}" height="{tall:.1f}"><title>{escape(told)}</title></rect>'
            )
    if _marked(spread, over):
        x = over.place(spread.mean)
        parts.append(f'<line class="mean" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{HEIGHT:g}"/>')
    label = escape(f"Histogram of {values.size:,} values, {spread.label}: {'; '.join(spread.told)}")
    drawn = f'<svg class="histogram" role="img" aria-label="{label}" height="{HEIGHT:g}">'
    return f"{drawn}{''.join(parts)}</svg>", values.size - inside.size


def _tick(x: float) -> str:
    return f'<line class="rule" x1="{x:.3f}%" x2="{x:.3f}%" y1="0" y2="{HEIGHT:g}"/>'


def _marked(spread: Spread, over: Scale) -> bool:
    return math.isfinite(spread.mean) and over.low <= spread.mean <= over.high


def _band(spread: Spread, over: Scale) -> str:
    """The interval of the mean, behind the bars."""
    if not (_marked(spread, over) and math.isfinite(spread.error)):
        return ""
    low = max(over.place(spread.mean - spread.error), 0.0)
    wide = min(over.place(spread.mean + spread.error), 100.0) - low
    return f'<rect class="band" x="{low:.3f}%" width="{wide:.3f}%" y="0" height="{HEIGHT:g}"/>'


def axis(over: Scale, unit: str) -> str:
    """The numbers below all rows."""
    step = over.ticks[1] - over.ticks[0] if len(over.ticks) > 1 else 1.0
    words = [
        f'<text x="{over.place(tick):.3f}%" y="17" text-anchor="middle">'
        f"{_written(tick, step)}</text>"
        for tick in over.ticks
        if 2.0 <= over.place(tick) <= 98.0
    ]
    label = escape(f"Scale in {unit}")
    return f'<svg class="axis" aria-label="{label}" height="{FOOT:g}">{"".join(words)}</svg>'
