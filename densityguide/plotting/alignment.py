"""Histograms of score alignment with their pass rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from densityguide.checks import require
from densityguide.plotting.style import INK, RAMP, sheet
from densityguide.verify.alignment_report import wilson_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["alignment"]


def alignment(cosines: Mapping[str, ArrayLike], *, bins: int = 40) -> Figure:
    """One histogram of alignment cosines per name, with the share above 0 and its 95% interval
    (Wilson). Values that are not finite count as not aligned.

    Args:
        cosines: name -> cosines [n], e.g. ``alignment_report(...).cosine``.

    Raises:
        ValueError: a set that is empty or not [n], or no matplotlib.
    """
    require(len(cosines) > 0, "alignment takes at least one set: name -> cosines [n]")
    edges = np.linspace(-1.0, 1.0, 2 * (bins // 2) + 1)  # 0 is an edge
    size = (6.6, 1.75 * len(cosines) + 0.6)
    with sheet(size, rows=len(cosines), sharex=True) as (figure, axes):
        for axis, (name, values) in zip(axes[:, 0], cosines.items(), strict=True):
            values = np.asarray(values, np.float64)
            require(
                values.ndim == 1 and values.size > 0,
                f"{name} must be cosines [n] of at least one latent, got shape {values.shape}",
            )
            passed, count = int((values > 0).sum()), values.size
            low, high = wilson_interval(passed, count)
            finite = np.clip(values[np.isfinite(values)], -1.0, 1.0)
            counts, _ = np.histogram(finite, edges)
            left, wide = edges[:-1], np.diff(edges)
            fine = left >= -1e-12
            axis.bar(left[fine], counts[fine], wide[fine], align="edge", color=RAMP[2])
            # Hatched as well as coloured: the two must differ in grey.
            axis.bar(
                left[~fine],
                counts[~fine],
                wide[~fine],
                align="edge",
                color="white",
                edgecolor=RAMP[0],
                hatch="/////",
                lw=0.8,
            )
            axis.axvline(0.0, color=INK, lw=1.2)
            failed = count - finite.size
            lost = f", {failed} failed" if failed else ""
            axis.set_title(
                f"{name}: {passed} of {count} above 0 ({low:.1%} .. {high:.1%}){lost}", loc="left"
            )
            axis.set_ylabel("latents")
            axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        axes[-1, 0].set_xlabel("cosine of score and pushed direction")
        axes[-1, 0].set_xlim(-1.02, 1.02)
        return figure
