"""Numbers of several groups as boxes, one below the other, a panel for each model."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from densityguide.checks import require
from densityguide.plotting.style import GREY, INK, colours, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["spreads"]

INNER = (5.0, 95.0)  # percentiles between the ends of the whiskers


def spreads(
    panels: Mapping[str, Mapping[str, ArrayLike]], *, xlabel: str, columns: int = 2
) -> Figure:
    """Boxes from the first to the third quartile with the median, whiskers from the 5th to the
    95th percentile; the band behind them goes on with the box of a panel's first group.

    Args:
        panels: title -> name -> values [n], of which those that are not finite are left out.
        xlabel: what the values are, with their unit.
        columns: panels side by side.

    Raises:
        ValueError: no panel, a group without a finite value, or no matplotlib.
    """
    require(len(panels) > 0, "spreads takes at least one panel: title -> name -> values [n]")
    columns = min(columns, len(panels))
    rows, most = ceil(len(panels) / columns), max(len(groups) for groups in panels.values())
    size = (max(5.2 * columns, 7.0), (0.42 * most + 1.0) * rows + 0.3)
    with sheet(size, rows, columns) as (figure, axes):
        for axis, (title, groups) in zip(axes.flat, panels.items(), strict=False):
            known = {name: _finite(name, values) for name, values in groups.items()}
            boxes = axis.boxplot(
                list(known.values()),
                orientation="horizontal",
                tick_labels=list(known),
                whis=INNER,
                showfliers=False,
                patch_artist=True,
                widths=0.6,
                medianprops={"color": INK, "lw": 1.8},
            )
            first, *others = boxes["boxes"]
            first.set_facecolor(colours(3)[1])
            for box in others:
                box.set_facecolor(GREY)
            low, high = np.percentile(next(iter(known.values())), [25.0, 75.0])
            axis.axvspan(low, high, color=colours(3)[1], alpha=0.18, lw=0.0, zorder=0)
            axis.invert_yaxis()
            axis.set_title(title, loc="left")
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        figure.supxlabel(xlabel, fontsize=13.0)
        return figure


def _finite(name: str, values: ArrayLike) -> np.ndarray:
    known = np.asarray(values, np.float64)
    require(known.ndim == 1, f"{name} must be values [n], got {known.shape}")
    known = known[np.isfinite(known)]
    require(len(known) > 0, f"{name} must have at least one finite value, got none")
    return known
