"""A grid of images, each with its log p written below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from densityguide.checks import require
from densityguide.plotting.style import FRAME, INK, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["images"]

TILE, CAPTION, LETTER = 1.0, 0.26, 0.105  # inches


def images(
    rows: ArrayLike | Sequence[ArrayLike],
    log_density: ArrayLike | None = None,
    *,
    labels: Sequence[str] | None = None,
    levels: int = 256,
    form: str = "{:,.0f}",
    title: str = "",
) -> Figure:
    """Images in rows, each over its log p.

    Args:
        rows: integers 0 .. levels - 1, [R, N, H, W, C] with C of 1 or 3.
        log_density: what is written below the images [R, N], in the unit that ``title`` names;
            "failed" where it is not finite.
        labels: what stands at the left of each row.
        form: how a value is written.

    Raises:
        ValueError: arrays of other shapes, or no matplotlib.
    """
    rows = np.asarray(rows)
    require(
        rows.ndim == 5 and rows.shape[-1] in (1, 3),
        f"images takes [rows, columns, height, width, 1 or 3], got {rows.shape}",
    )
    height, width = rows.shape[:2]
    if log_density is not None:
        log_density = np.asarray(log_density)
        require(
            log_density.shape == (height, width),
            f"log_density must be {(height, width)}, one for each image, got {log_density.shape}",
        )
    require(
        labels is None or len(labels) == height,
        f"labels must be {height}, one for each row, got {labels!r}",
    )
    left = 0.0 if labels is None else 0.2 + LETTER * max(map(len, labels))
    below = 0.06 if log_density is None else CAPTION
    tall = rows.shape[2] / rows.shape[3]  # height of a tile in tiles
    across, down = 1.06, tall + below
    size = (TILE * (left + width * across), TILE * height * down + (0.4 if title else 0.0))
    with sheet(size) as (figure, axes):
        axis = axes[0, 0]
        for (row, column), _ in np.ndenumerate(np.empty((height, width))):
            x, y = left + column * across, -row * down
            tile = np.clip(rows[row, column] / (levels - 1), 0.0, 1.0)
            if tile.shape[-1] == 1:
                tile = np.repeat(tile, 3, axis=-1)
            # Whole pixels as crisp squares.
            axis.imshow(tile, extent=(x, x + 1.0, y - tall, y), interpolation="nearest")
            # A frame: many pictures are white at their edges.
            edges = np.array([[x, y], [x + 1.0, y], [x + 1.0, y - tall], [x, y - tall], [x, y]])
            axis.plot(*edges.T, color=FRAME, lw=0.8)
            if log_density is not None:
                value = log_density[row, column]
                text = form.format(value) if np.isfinite(value) else "failed"
                axis.text(x + 0.5, y - tall - 0.04, text, ha="center", va="top", fontsize=12)
        for row, label in enumerate(labels or ()):
            middle = -row * down - 0.5 * tall
            axis.text(0.0, middle, label, ha="left", va="center", fontsize=13, color=INK)
        axis.set_xlim(-0.02, left + width * across)
        axis.set_ylim(-height * down, 0.02)
        axis.set_axis_off()
        if title:
            axis.set_title(title, loc="left")
        return figure
