"""Curves with intervals, a panel for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from densityguide.checks import require
from densityguide.plotting.style import INK, LINES, MARKERS, colours, plain_logarithms, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["intervals"]


def intervals(
    panels: Mapping[str, Mapping[str, tuple[ArrayLike, ArrayLike]]],
    *,
    xlabel: str,
    ylabel: str,
    columns: int = 2,
    level: float | None = None,
    log: bool = False,
    ticks: Sequence[str] | None = None,
    flat: Sequence[str] = (),
) -> Figure:
    """Estimates with their intervals, joined by lines.

    Args:
        panels: title -> name -> (x [n], estimates and intervals [n, 3] as value, low, high).
        columns: panels side by side.
        level: height of a horizontal line, e.g. of no effect.
        log: whether heights are logarithmic.
        ticks: words for x = 0, 1, 2, ... in place of numbers.
        flat: names that have no x: the first of their rows is drawn from side to side, its interval
            as a band.

    Raises:
        ValueError: arrays of other shapes, no panel, or no matplotlib.
    """
    require(len(panels) > 0, "intervals takes at least one panel: title -> name -> (x, intervals)")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    looks = dict(zip(names, zip(colours(len(names)), cycle(MARKERS), cycle(LINES)), strict=False))
    columns = min(columns, len(panels))
    rows = ceil(len(panels) / columns)
    beside = 4 if columns > 1 else 2  # names of the legend in a row
    size = (max(4.6 * columns, 7.0), max(3.3 * rows, 4.2) + 0.4 * ceil(len(names) / beside))
    with sheet(size, rows, columns) as (figure, axes):
        figure.get_layout_engine().set(h_pad=0.12)  # a title is nearer to its own panel
        for axis, (title, curves) in zip(axes.flat, panels.items(), strict=False):
            for name, (x, ends) in curves.items():
                x, ends = np.asarray(x, np.float64), np.asarray(ends, np.float64)
                require(
                    x.ndim == 1 and ends.shape == (len(x), 3),
                    f"{name} must be x [n] and intervals [n, 3], got {x.shape} and {ends.shape}",
                )
                colour, marker, dash = looks[name]
                if name in flat:
                    value, low, high = ends[0]
                    axis.axhspan(low, high, color=colour, alpha=0.18, lw=0.0)
                    axis.axhline(value, color=colour, ls=dash, lw=1.6, label=name)
                    continue
                value, low, high = ends.T
                bars = np.maximum([value - low, high - value], 0.0)
                look = {"color": colour, "marker": marker, "ls": dash, "capsize": 3.0, "lw": 1.6}
                axis.errorbar(x, value, bars, label=name, **look)
            if level is not None:
                axis.axhline(level, color=INK, lw=0.9)
            if log:
                axis.set_yscale("log")
                plain_logarithms(axis.yaxis)
            if ticks is not None:
                axis.set_xticks(range(len(ticks)), ticks)
                axis.set_xlim(-0.3, len(ticks) - 0.7)
            axis.set_title(title, loc="left")
            axis.grid(True)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        figure.supxlabel(xlabel, fontsize=13.0)
        figure.supylabel(ylabel, fontsize=13.0)
        handles = {h.get_label(): h for a in axes.flat for h in a.get_legend_handles_labels()[0]}
        if len(names) > 1:
            figure.legend(handles.values(), handles, loc="outside upper center", ncols=beside)
        return figure
