"""The density of a flow in two dimensions, with trajectories on it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from densityguide.checks import require
from densityguide.plotting.style import GREY, INK, LINES, MARKERS, colours, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["mesh", "plane"]

LEVELS = (-12.0, -8.0, -6.0, -4.0, -3.0, -2.0, -1.0, -0.5, 0.0)  # nats below the highest
SHADES = [str(0.97 - 0.055 * index) for index in range(len(LEVELS) - 1)]  # light: others lie on it


def mesh(extent: tuple[float, float, float, float], count: int = 120) -> np.ndarray:
    """Points [count, count, 2] of a grid over (left, right, bottom, top): evaluate a log-density on
    them with two ``vmap``s and give it to `plane` with the same extent."""
    left, right, bottom, top = extent
    axes = np.linspace(left, right, count), np.linspace(bottom, top, count)
    return np.stack(np.meshgrid(*axes), axis=-1)


def plane(
    log_density: ArrayLike,
    extent: tuple[float, float, float, float],
    *,
    paths: Mapping[str, ArrayLike] | None = None,
    points: Mapping[str, ArrayLike] | None = None,
    title: str = "",
) -> Figure:
    """Contours of a log-density in nats below its highest value, with trajectories and points.

    Args:
        log_density: nats on the points of `mesh`, [rows from bottom to top, columns].
        extent: (left, right, bottom, top).
        paths: name -> trajectories [m, n, 2], each from a ring to a disc.
        points: name -> points [m, 2].

    Raises:
        ValueError: arrays of other shapes, or no matplotlib.
    """
    log_density = np.asarray(log_density, np.float64)
    require(
        log_density.ndim == 2, f"plane takes log_density [rows, columns], got {log_density.shape}"
    )
    paths, points = _checked(paths or {}, 3), _checked(points or {}, 2)
    left, right, bottom, top = extent
    shades = iter(colours(len(paths) + len(points)))
    marks = cycle(MARKERS)
    with sheet((6.6, 0.9 + 5.2 * (top - bottom) / (right - left))) as (figure, axes):
        axis = axes[0, 0]
        below = np.maximum(log_density - np.nanmax(log_density), LEVELS[0] - 1.0)
        shape = {"levels": LEVELS, "extent": extent, "origin": "lower"}
        filled = axis.contourf(below, colors=SHADES, **shape)
        axis.contour(below, colors=GREY, linewidths=0.5, linestyles="-", **shape)
        bar = figure.colorbar(filled, ax=axis, ticks=LEVELS, format="%g", shrink=0.9)
        bar.set_label("log p below its maximum (nats)", fontsize=12)
        bar.ax.tick_params(labelsize=11)
        for index, (name, lines) in enumerate(paths.items()):
            colour, mark = next(shades), next(marks)
            dash = LINES[index % len(LINES)]
            for line in lines:
                axis.plot(*line.T, ls=dash, color=colour, lw=1.4)
            axis.plot(*lines[:, 0].T, "o", mfc="white", mec=colour, mew=1.4)
            axis.plot(*lines[:, -1].T, mark, color=colour, mec=INK, mew=0.7, ms=8.0, label=name)
        for name, dots in points.items():
            colour, mark = next(shades), next(marks)
            axis.plot(*dots.T, mark, color=colour, mec=INK, mew=0.6, ms=6.5, label=name)
        axis.set_xlim(left, right)
        axis.set_ylim(bottom, top)
        axis.set_aspect("equal")
        axis.set(xlabel="first coordinate", ylabel="second coordinate")
        if title:
            axis.set_title(title, loc="left")
        if len(paths) + len(points) > 0:
            figure.legend(loc="outside lower center", ncols=len(paths) + len(points))
        return figure


def _checked(given: Mapping[str, ArrayLike], ndim: int) -> dict[str, np.ndarray]:
    shape = "[m, n, 2]" if ndim == 3 else "[m, 2]"
    arrays = {name: np.asarray(values, np.float64) for name, values in given.items()}
    for name, values in arrays.items():
        require(
            values.ndim == ndim and values.shape[-1] == 2,
            f"{name} must be {shape}, got {values.shape}",
        )
    return arrays
