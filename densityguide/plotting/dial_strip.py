"""The picture of the dial: one latent a row, one log-density a column, from detailed to smooth."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image

from densityguide.checks import require
from densityguide.plotting.pages import FOOT, INK, MARGIN, SOFT, TILE_EDGE, blank, font, tile

__all__ = ["dial_strip"]

ARROW = (37, 99, 171)
GAP, LINE, WORDS, NAME = 4, 20, 52, 84  # pixels; WORDS of the arrow, NAME at the left of a row
CAPTION, APART = 20, 24  # below a picture; between what was given and the rest
SIDE, LARGE = 96, 144  # a picture at least, and where there is room
ACROSS = 560  # all columns at least: narrower, the words would collide
LETTERS = 7  # pixels that a letter of the note takes on average


def dial_strip(
    columns: Sequence[np.ndarray],
    heads: Sequence[Sequence[str]],
    levels: int,
    *,
    names: Sequence[str] = (),
    given: np.ndarray | None = None,
    captions: Sequence[Sequence[str]] = (),
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
        given: the pictures that the rows come from, apart at the left.
        captions: a row of words for each row of pictures, one below each picture of ``columns``.

    Raises:
        ValueError: columns of different shapes, not as many heads, not N names or N rows of
            captions.
    """
    apart = [] if given is None else [given]
    shapes = {np.shape(column) for column in (*columns, *apart)}
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
    require(
        len(captions) in (0, rows) and all(len(row) == len(columns) for row in captions),
        f"dial_strip takes no captions, or {rows} rows of {len(columns)}",
    )
    factor = max(1, SIDE // max(height, width), min(LARGE, room) // max(height, width))
    wide, tall = factor * width, factor * height
    widest = max(font(16).getlength(line) for head in heads for line in ("", *head))
    first, pitch = MARGIN + (NAME if names else 0), max(wide + GAP, room, round(widest) + 8)
    left = first + len(apart) * (pitch + APART)
    fall = tall + GAP + (CAPTION if captions else 0)  # from row to row
    across = len(columns) * pitch - GAP
    page_width = left + across + MARGIN
    lines = textwrap.wrap(note, max((page_width - 2 * MARGIN) // LETTERS, 20))
    arrow = 84 if title else 14
    above = arrow + WORDS + max(map(len, heads)) * LINE + 10
    deep = above + rows * fall + max(FOOT, 24 + LINE * len(lines))
    page, pen = blank(page_width, deep, title, subtitle, "")
    right = left + across
    pen.text((left, arrow), "less likely: more detail", INK, font(20))
    pen.text((right, arrow), "more likely: smoother", INK, font(20), anchor="ra")
    line = arrow + 34
    pen.line((left, line, right - 4, line), ARROW, 3)
    pen.polygon([(right, line), (right - 14, line - 7), (right - 14, line + 7)], ARROW)
    places = [first] * len(apart) + [left + column * pitch for column in range(len(columns))]
    told = [("given",)] * len(apart) + list(heads)
    for place, images, head in zip(places, (*apart, *columns), told, strict=True):
        start = place + (pitch - GAP - wide) // 2
        for number, words in enumerate(head):
            spot = (start + wide // 2, arrow + WORDS + number * LINE)
            pen.text(spot, words, SOFT if number else INK, font(14 if number else 16), anchor="ma")
        for row, image in enumerate(images):
            shown = tile(np.asarray(image), levels, factor * max(height, width))
            top = above + row * fall
            page.paste(shown, (start, top))
            pen.rectangle((start - 1, top - 1, start + wide, top + tall), outline=TILE_EDGE)
    for row, name in enumerate(names):
        pen.text((first - 10, above + row * fall + tall // 2), name, SOFT, font(16), anchor="rm")
    for row, line_of in enumerate(captions):
        for column, words in enumerate(line_of):
            spot = (left + column * pitch + (pitch - GAP) // 2, above + row * fall + tall + 2)
            pen.text(spot, words, SOFT, font(14), anchor="ma")
    for number, words in enumerate(lines):
        pen.text((MARGIN, above + rows * fall + 10 + number * LINE), words, SOFT, font(14))
    return page
