"""Interpolation strips: the pictures along a curve, with what is known of each below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from densityguide.checks import require
from densityguide.plotting.pages import (
    FOOT,
    GAP,
    HEAD,
    INK,
    MARGIN,
    SOFT,
    TILE_EDGE,
    blank,
    font,
    tile,
)

__all__ = ["strip"]

LINE, NAME = 20, 26  # pixels: a line of a caption, the name above a row


def strip(
    rows: Sequence[np.ndarray],
    captions: Sequence[Sequence[str]],
    levels: int,
    *,
    names: Sequence[str] = (),
    title: str,
    subtitle: str = "",
    note: str = "",
) -> Image.Image:
    """Rows of frames from one end of a curve to the other.

    Args:
        rows: uint8 arrays [N, H, W, C] with values 0 .. levels - 1, C of 1 or 3.
        captions: the lines below each of the N columns, e.g. its log p and its log-SNR.
        names: what stands above each row.

    Raises:
        ValueError: rows of different lengths, or not as many captions as frames.
    """
    shapes = {np.shape(row) for row in rows}
    require(
        len(shapes) == 1 and len(np.shape(rows[0])) == 4 and np.shape(rows[0])[-1] in (1, 3),
        f"strip takes rows [frames, height, width, 1 or 3] of one shape, got {sorted(shapes)}",
    )
    count, height, width = np.shape(rows[0])[:3]
    require(
        len(captions) == count,
        f"strip takes a caption for each of {count} frames, got {len(captions)}",
    )
    require(
        not names or len(names) == len(rows),
        f"names must be {len(rows)}, one for each row, got {len(names)}",
    )
    factor = max(1, 112 // max(height, width))
    side, tall = factor * max(height, width), factor * height
    above = NAME if names else 6
    deep = max(map(len, captions)) * LINE + 8
    total = HEAD + len(rows) * (above + tall + GAP) + deep + FOOT
    wide = 2 * MARGIN + count * (side + GAP) - GAP
    page, pen = blank(max(wide, 640), total, title, subtitle, note)
    top = HEAD
    for index, row in enumerate(rows):
        if names:
            pen.text((MARGIN, top + 3), names[index], SOFT, font(15))
        top += above
        for column, frame in enumerate(row):
            left = MARGIN + column * (side + GAP)
            drawn = tile(np.asarray(frame), levels, side)
            page.paste(drawn, (left, top))
            right, bottom = left + drawn.width, top + drawn.height
            pen.rectangle((left - 1, top - 1, right, bottom), outline=TILE_EDGE)
        top += tall + GAP
    for column, lines in enumerate(captions):
        left = MARGIN + column * (side + GAP)
        for index, line in enumerate(lines):
            place = (left, top + 2 + index * LINE)
            pen.text(place, line, SOFT if index else INK, font(13 if index else 15))
    return page
