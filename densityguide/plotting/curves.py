"""Curves: log p along trajectories, and errors against what they cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from densityguide.checks import require
from densityguide.plotting.style import GREY, INK, LINES, MARKERS, RAMP, colours, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["convergence", "log_density_paths"]


def log_density_paths(
    times: ArrayLike,
    natural: ArrayLike,
    guided: ArrayLike,
    *,
    target: float | None = None,
    tolerance: float = 0.0,
    labels: tuple[str, str] = ("natural", "guided"),
) -> Figure:
    """Log p along trajectories, and the same relative to the mean of the natural ones.

    Args:
        times: the clock at the knots [n].
        natural: log p in nats at the knots, one row per sample [m, n].
        guided: the same under guidance [k, n].
        target: where the guided ones should end, with ``tolerance`` to either side as a band.

    Raises:
        ValueError: arrays of other shapes, or no matplotlib.
    """
    times = np.asarray(times, np.float64)
    both = [np.atleast_2d(np.asarray(lines, np.float64)) for lines in (natural, guided)]
    for name, lines in zip(("natural", "guided"), both, strict=True):
        require(
            times.ndim == 1 and lines.ndim == 2 and lines.shape[1] == len(times),
            f"{name} must be [samples, knots] with the {times.size} knots of times, "
            f"got {lines.shape}",
        )
    mean = np.nanmean(both[0], axis=0)
    with sheet((9.0, 3.9), columns=2) as (figure, axes):
        for axis, shift in zip(axes[0], (np.zeros_like(mean), mean), strict=True):
            styles = ((GREY, 1.2, "-"), (RAMP[1], 1.8, "--"))
            for lines, label, (colour, wide, dash) in zip(both, labels, styles, strict=True):
                drawn = axis.plot(times, (lines - shift).T, dash, color=colour, lw=wide)
                drawn[0].set_label(label)
            if target is not None:
                low, high = (target - shift[-1] + side * tolerance for side in (-1, 1))
                span = times[-1] - times[0]
                ends = (times[-1] - 0.06 * span, times[-1] + 0.02 * span)
                axis.fill_between(ends, low, high, color=RAMP[4], alpha=0.5, lw=0)
                axis.plot(ends, 2 * [0.5 * (low + high)], color=INK, lw=3.0, label="target")
            axis.set_xlabel("log-SNR, noise to data")
            axis.grid(True)
        axes[0, 0].set_ylabel("log p (nats)")
        axes[0, 1].set_ylabel("log p - natural mean (nats)")
        axes[0, 0].legend()
        return figure


def convergence(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    ylabel: str = "error of log p (nats, RMS)",
    emphasis: Collection[str] = (),
) -> Figure:
    """Error against network evaluations, both on logarithmic axes.

    Args:
        curves: name -> (evaluations [n], errors [n]).
        emphasis: names to be drawn in ink while the others stand back; by default all are equal.

    Raises:
        ValueError: a curve of two lengths, an unknown name in ``emphasis``, or no matplotlib.
    """
    require(len(curves) > 0, "convergence takes at least one curve: name -> (evaluations, errors)")
    unknown = sorted(set(emphasis) - set(curves))
    require(not unknown, f"emphasis must name curves ({', '.join(curves)}), got {unknown}")
    shades = dict(zip(curves, colours(len(curves)), strict=True))
    if emphasis:
        shades = {name: INK if name in emphasis else GREY for name in curves}
    with sheet((8.0, 4.2)) as (figure, axes):
        axis, seen = axes[0, 0], set()
        looks = zip(curves.items(), cycle(MARKERS), cycle(LINES), strict=False)
        for (name, (evaluations, errors)), marker, dash in looks:
            evaluations, errors = np.asarray(evaluations), np.asarray(errors, np.float64)
            require(
                evaluations.shape == errors.shape and evaluations.ndim == 1,
                f"{name} must have as many errors as evaluations, "
                f"got {evaluations.shape} and {errors.shape}",
            )
            axis.plot(evaluations, errors, marker=marker, ls=dash, color=shades[name], label=name)
            seen |= set(evaluations.tolist())
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        first, last = np.log2(min(seen)), np.log2(max(seen))
        powers = 2 ** np.arange(np.ceil(first - 0.2), np.floor(last + 0.2) + 1).astype(int)
        axis.set_xticks(powers, [str(n) for n in powers])
        axis.set(xlabel="network evaluations", ylabel=ylabel)
        axis.grid(True)
        # Beside the axes: curves that fall steeply leave no corner free.
        figure.legend(loc="outside right upper", handlelength=2.6)
        return figure
