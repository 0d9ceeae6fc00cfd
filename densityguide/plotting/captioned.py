"""A page of pictures in rows, each picture with lines of its own below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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

__all__ = ["Row", "captioned"]

SIDE, NAME, LINE = 160, 28, 20  # pixels: a picture at least, the name above a row, a caption's line


class Row(NamedTuple):
    """``images``: uint8 [N, H, W, C] with values 0 .. levels - 1; ``captions``: the lines below
    each; ``title``, and what is ``told`` beside it, above the row."""

    images: np.ndarray
    captions: Sequence[Sequence[str]]
    title: str = ""
    told: str | None = None


def captioned(
    rows: Sequence[Row], levels: int, *, title: str, subtitle: str = "", note: str = ""
) -> Image.Image:
    """One row below the other.

    Raises:
        ValueError: rows that are not [N, H, W, 1 or 3], or without a caption for each picture.
    """
    for row in rows:
        shape = np.shape(row.images)
        require(
            len(shape) == 4 and shape[-1] in (1, 3) and len(row.captions) == shape[0],
            "captioned takes rows [n, height, width, 1 or 3] with n captions, got "
            f"{shape} with {len(row.captions)}",
        )
    height, width = rows[0].images.shape[1:3]
    factor = max(1, -(-SIDE // max(height, width)))
    wide, tall = factor * width, factor * height
    lines = max(len(lines) for row in rows for lines in row.captions)
    deep = NAME + tall + 6 + lines * LINE + 14
    columns = max(len(row.captions) for row in rows)
    across = max(2 * MARGIN + columns * (wide + 2 * GAP) - 2 * GAP, 640)
    page, pen = blank(across, HEAD + 8 + len(rows) * deep + FOOT, title, subtitle, note)
    for index, row in enumerate(rows):
        top = HEAD + 8 + index * deep
        pen.text((MARGIN, top), row.title, INK, font(17))
        beside = MARGIN + (pen.textlength(row.title, font(17)) + 14 if row.title else 0)
        pen.text((beside, top + 2), row.told or "", SOFT, font(15))
        top += NAME
        for column, (image, caption) in enumerate(zip(row.images, row.captions, strict=True)):
            left = MARGIN + column * (wide + 2 * GAP)
            page.paste(tile(np.asarray(image), levels, factor * max(height, width)), (left, top))
            pen.rectangle((left - 1, top - 1, left + wide, top + tall), outline=TILE_EDGE)
            for number, line in enumerate(caption):
                place = (left, top + tall + 6 + number * LINE)
                pen.text(place, line, SOFT if number else INK, font(15 if number else 16))
    return page
