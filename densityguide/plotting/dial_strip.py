"""The picture of the dial: one latent a row, one log-density a column, from detailed to smooth."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image

from densityguide.checks import require
from densityguide.plotting.pages import FOOT, INK, MARGIN, SOFT, blank, font, tile

__all__ = ["dial_strip"]

ARROW = (37, 99, 171)
GAP, LINE, WORDS, NAME = 4, 20, 52, 84  # pixels; WORDS of the arrow, NAME at the left of a row
SIDE, LARGE = 96, 144  # a picture at least, and where there is room
ACROSS = 560  # all columns at least: narrower, the words would collide
LETTERS = 7  # pixels that a letter of the note takes on average


def dial_strip(
    columns: Sequence[np.ndarray],
    heads: Sequence[Sequence[str]],
    levels: int,
    *,
    names: Sequence[str] = (),
    title: str = "",
    subtitle: str = "",
    note: str = "",
) -> Image.Image:
    """Under the words "less likely: more detail" and "more likely: smoother".

    Args:
        columns: from the smallest log p to the largest, each uint8 [N, H, W, C] of the same N
            latents with values 0 .. levels - 1, C of 1 or 3.
        heads: the lines above each column: what was asked for, then what was measured.
        names: at the left of each row.

    Raises:
        ValueError: columns of different shapes, not as many heads, or not N names.
    """
    shapes = {np.shape(column) for column in columns}
    require(
        len(shapes) == 1 and len(np.shape(columns[0])) == 4 and np.shape(columns[0])[-1] in (1, 3),
        f"dial_strip takes columns [n, height, width, 1 or 3] of one shape, got {sorted(shapes)}",
    )
    rows, height, width = np.shape(columns[0])[:3]
    require(
        len(heads) == len(columns) and len(names) in (0, rows),
        f"dial_strip takes a head for each of {len(columns)} columns and none or {rows} names, got "
        f"{len(heads)} and {len(names)}",
    )
    room = ACROSS // len(columns)
    factor = max(1, SIDE // max(height, width), min(LARGE, room) // max(height, width))
    wide, tall = factor * width, factor * height
    widest = max(font(16).getlength(line) for head in heads for line in ("", *head))
    left, pitch = MARGIN + (NAME if names else 0), max(wide + GAP, room, round(widest) + 8)
    across = len(columns) * pitch - GAP
    page_width = left + across + MARGIN
    lines = textwrap.wrap(note, max((page_width - 2 * MARGIN) // LETTERS, 20))
    arrow = 84 if title else 14
    above = arrow + WORDS + max(map(len, heads)) * LINE + 10
    deep = above + rows * (tall + GAP) + max(FOOT, 24 + LINE * len(lines))
    page, pen = blank(page_width, deep, title, subtitle, "")
    right = left + across
    pen.text((left, arrow), "less likely: more detail", INK, font(20))
    pen.text((right, arrow), "more likely: smoother", INK, font(20), anchor="ra")
    line = arrow + 34
    pen.line((left, line, right - 4, line), ARROW, 3)
    pen.polygon([(right, line), (right - 14, line - 7), (right - 14, line + 7)], ARROW)
    for column, (images, head) in enumerate(zip(columns, heads, strict=True)):
        start = left + column * pitch + (pitch - GAP - wide) // 2
        for number, words in enumerate(head):
            place = (start + wide // 2, arrow + WORDS + number * LINE)
            pen.text(place, words, SOFT if number else INK, font(14 if number else 16), anchor="ma")
        for row, image in enumerate(images):
            shown = tile(np.asarray(image), levels, factor * max(height, width))
            page.paste(shown, (start, above + row * (tall + GAP)))
    for row, name in enumerate(names):
        place = (left - 10, above + row * (tall + GAP) + tall // 2)
        pen.text(place, name, SOFT, font(16), anchor="rm")
    for number, words in enumerate(lines):
        pen.text((MARGIN, above + rows * (tall + GAP) + 10 + number * LINE), words, SOFT, font(14))
    return page
