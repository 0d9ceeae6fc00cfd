"""How much detail a picture has, and how that goes with its log p."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from densityguide.checks import require
from densityguide.plotting.style import INK, MARKERS, colours, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["detail", "high_frequency_power", "png_bytes", "spearman"]


def png_bytes(image: np.ndarray) -> int:
    """Size of one uint8 image [H, W, C] as PNG: a simple measure of detail."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
        buffer, "PNG", compress_level=9
    )
    return buffer.tell()


def high_frequency_power(image: ArrayLike, *, levels: int = 256, cutoff: float = 0.25) -> float:
    """Variance of one image [H, W, C], on the scale 0 .. 1, at frequencies above ``cutoff`` cycles
    per pixel (0.25 is half the Nyquist frequency), mean over the channels::

        sum over |f| > cutoff of |F(f)|^2 / (H W)^2,    F the discrete Fourier transform
    """
    pixels = np.asarray(image, np.float64) / (levels - 1)
    height, width = pixels.shape[:2]
    power = np.abs(np.fft.fft2(pixels, axes=(0, 1)) / (height * width)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    return float(power[frequency > cutoff].sum() / pixels.shape[2])


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; nan where one side is constant or fewer than two pairs are
    finite."""
    from scipy.stats import spearmanr

    a, b = np.ravel(a), np.ravel(b)
    fine = np.isfinite(a) & np.isfinite(b)
    a, b = a[fine], b[fine]
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(spearmanr(a, b).statistic)


def detail(
    log_density: ArrayLike,
    measures: Mapping[str, ArrayLike],
    *,
    groups: Mapping[str, ArrayLike] | None = None,
    xlabel: str = "log p (nats)",
    title: str = "",
    diagonal: bool = False,
) -> Figure:
    """Measures of detail against log p, a panel each, with Spearman's rank correlation in every
    group.

    Args:
        log_density: [n].
        measures: name -> values [n], e.g. of `png_bytes` and `high_frequency_power`.
        groups: name -> which of the n samples belong to it (a mask or indices), drawn with its own
            marker; by default one group without a name. What is in no group is left out.
        diagonal: whether to draw where a measure would be log p itself.

    Raises:
        ValueError: a measure of another shape, or no matplotlib.
    """
    log_density = np.asarray(log_density, np.float64)
    require(log_density.ndim == 1, f"detail takes log_density [n], got {log_density.shape}")
    require(len(measures) > 0, "detail takes at least one measure: name -> values [n]")
    everyone = np.arange(len(log_density))
    chosen = groups or {"": everyone}
    members = {name: everyone[np.asarray(which)] for name, which in chosen.items()}
    shades = colours(len(members))
    with sheet((4.4 * len(measures) + 0.2, 4.2), columns=len(measures)) as (figure, axes):
        for axis, (name, values) in zip(axes[0], measures.items(), strict=True):
            values = np.asarray(values, np.float64)
            require(
                values.shape == log_density.shape,
                f"{name} must be {log_density.shape}, one for each log p, got {values.shape}",
            )
            for index, (label, which) in enumerate(members.items()):
                axis.plot(
                    log_density[which],
                    values[which],
                    MARKERS[index % len(MARKERS)],
                    color=shades[index],
                    mec=INK,
                    mew=0.6,
                    ms=7.0,
                    label=label,
                )
            if diagonal:
                axis.axline((log_density[0], log_density[0]), slope=1.0, color=INK, lw=0.9)
            ranks = [
                f"{label} {spearman(log_density[which], values[which]):+.2f}".strip()
                for label, which in members.items()
            ]
            between = "\n" if len(ranks) > 1 else " "
            axis.set_title("rank correlation" + between + ", ".join(ranks), loc="left")
            axis.set(xlabel=xlabel, ylabel=name)
            axis.grid(True)
        if title:
            figure.suptitle(title, fontsize=15.0)
        if len(members) > 1:
            handles, labels = axes[0, 0].get_legend_handles_labels()
            place = {"loc": "outside lower center", "ncols": len(members), "handletextpad": 0.1}
            figure.legend(handles, labels, **place)
        return figure
