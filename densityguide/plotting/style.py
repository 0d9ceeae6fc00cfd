"""The look of every figure, which must survive grey and half size; pyplot is imported only here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["FRAME", "GREY", "INK", "LINES", "MARKERS", "PAPER", "RAMP", "colours"]
__all__ += ["plain_logarithms", "sheet"]

INK, GREY, FRAME, PAPER = "#1c1e22", "#8a8e96", "#d9dade", "#ffffff"
# Dark to light, so that the order of the colours is also an order of greys.
RAMP = ("#58187f", "#2563ab", "#108a88", "#5ca43e", "#d6990f")
MARKERS, LINES = ("o", "s", "^", "D", "v", "P"), ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), "-")

STYLE = {
    "font.size": 13.0,
    "axes.titlesize": 13.0,
    "axes.labelsize": 13.0,
    "xtick.labelsize": 12.0,
    "ytick.labelsize": 12.0,
    "legend.fontsize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": False,
    "grid.color": FRAME,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.dpi": 100.0,
}


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as pyplot
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise ValueError(
            "figures need the package matplotlib, which is not installed: run "
            'pip install -e ".[plots]" in a checkout, or pip install "densityguide[plots]"'
        ) from None
    return pyplot


@contextmanager
def sheet(
    size: tuple[float, float], rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Any, Any]]:
    """``(figure, axes [rows, columns])``, in this package's style, ``size`` in inches.

    pyplot does not keep the figure: a notebook shows it once, where it is the value of a cell, and
    a loop over many leaks none. ValueError, one line, without matplotlib.
    """
    pyplot = _pyplot()
    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            rows, columns, figsize=size, squeeze=False, layout="constrained", **options
        )
        pyplot.close(figure)
        for axis in axes.flat:  # ticks are made while drawing, when the style is no longer in force
            axis.tick_params(labelsize=STYLE["xtick.labelsize"], color=INK, labelcolor=INK)
        yield figure, axes


def colours(count: int) -> list[Any]:
    """``count`` colours along `RAMP`, evenly spaced, dark to light."""
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("densityguide", RAMP)
    return [ramp(index / max(count - 1, 1)) for index in range(count)]


def plain_logarithms(axis: Any) -> None:
    """Ticks of a logarithmic axis as 0.1, 0.2, 0.5, ..., also where no power of ten is near."""
    from matplotlib.ticker import LogLocator

    axis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("{x:g}")
    axis.set_tick_params(which="minor", labelsize=STYLE["ytick.labelsize"], labelcolor=INK)
