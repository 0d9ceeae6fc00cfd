"""The picture of the dial: rows of samples, one row per q, each with its achieved log p."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Label", "blank", "font", "image_grid", "scatter_grid", "tile"]

PAPER, TILE_EDGE = (250, 250, 248), (226, 226, 222)
INK, SOFT = (28, 30, 34), (112, 116, 124)
# From rich detail to smooth: a ramp that stays readable for most colour vision and in grey.
RAMP = ((88, 28, 135), (37, 99, 171), (16, 138, 136), (92, 164, 62), (222, 163, 22))
MARGIN, GAP, HEAD, FOOT, SIDE = 28, 8, 74, 40, 244


class Label(NamedTuple):
    """What stands at the left of a row."""

    title: str
    lines: tuple[str, ...]
    level: float  # 0 .. 1, length of the bar


Colour = tuple[int, ...]


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The letters of all pages."""
    return ImageFont.load_default(size)


def _colour(share: float) -> Colour:
    place = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    low = min(int(place), len(RAMP) - 2)
    pairs = zip(RAMP[low], RAMP[low + 1], strict=True)
    return tuple(round(a + (b - a) * (place - low)) for a, b in pairs)


def blank(
    width: int, height: int, title: str, subtitle: str, note: str
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A page with its words and no pictures yet, and the pen to go on with."""
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, 20), title, INK, font(25))
    pen.text((MARGIN, 50), subtitle, SOFT, font(16))
    pen.text((MARGIN, height - FOOT + 10), note, SOFT, font(14))
    return page, pen


def _write_label(
    pen: ImageDraw.ImageDraw, label: Label, top: int, height: int, colour: Colour
) -> None:
    block = 32 + 20 * len(label.lines) + 12
    y = top + (height - block) // 2
    pen.text((MARGIN, y), label.title, INK, font(25))
    for index, line in enumerate(label.lines):
        tone = INK if index == 0 else SOFT
        pen.text((MARGIN, y + 34 + 20 * index), line, tone, font(16))
    bar = y + 34 + 20 * len(label.lines) + 6
    full = SIDE - MARGIN - 20
    pen.rounded_rectangle((MARGIN, bar, MARGIN + full, bar + 5), 3, TILE_EDGE)
    length = max(6, round(full * min(max(label.level, 0.0), 1.0)))
    pen.rounded_rectangle((MARGIN, bar, MARGIN + length, bar + 5), 3, colour)


def tile(image: np.ndarray, levels: int, side: int) -> Image.Image:
    """An image [H, W, C] of so many levels, enlarged to fit ``side`` pixels."""
    scaled = np.asarray(np.rint(image.astype(np.float64) * (255.0 / (levels - 1))), np.uint8)
    picture = Image.fromarray(scaled[..., 0] if scaled.shape[-1] == 1 else scaled).convert("RGB")
    factor = side // max(picture.size)
    # Whole factors keep every pixel of a small image a crisp square.
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def image_grid(
    rows: Sequence[np.ndarray],
    labels: Sequence[Label],
    levels: int,
    *,
    title: str,
    subtitle: str,
    note: str,
) -> Image.Image:
    """``rows``: one uint8 array [N, H, W, C] with values 0 .. levels - 1 per label."""
    count = len(rows[0])
    side = max(rows[0].shape[1:3]) * max(1, 128 // max(rows[0].shape[1:3]))
    cell = side + GAP
    width = max(SIDE + count * cell + MARGIN, 640)
    page, pen = blank(width, HEAD + len(rows) * cell + FOOT, title, subtitle, note)
    for index, (images, label) in enumerate(zip(rows, labels, strict=True)):
        top = HEAD + index * cell + 10
        colour = _colour(index / max(len(rows) - 1, 1))
        _write_label(pen, label, top, side, colour)
        for column, image in enumerate(images):
            left = SIDE + column * cell
            page.paste(tile(image, levels, side), (left, top))
            pen.rectangle((left - 1, top - 1, left + side, top + side), outline=TILE_EDGE)
    return page


def _panel(
    values: np.ndarray,
    centre: np.ndarray,
    axes: np.ndarray,
    spread: float,
    side: int,
    colour: Colour,
) -> Image.Image:
    """One panel of points, drawn large and scaled down for smooth discs."""
    big = 3 * side
    panel = Image.new("RGB", (big, big), (255, 255, 255))
    pen = ImageDraw.Draw(panel)
    flat = (values.astype(np.float64) - centre) @ axes.T / spread
    for point in flat[np.isfinite(flat).all(axis=1)]:
        x = 0.5 * big * (1.0 + point[0])
        y = 0.5 * big * (1.0 - (point[1] if len(point) > 1 else 0.0))
        pen.ellipse((x - 8, y - 8, x + 8, y + 8), colour, (255, 255, 255))
    return panel.resize((side, side), Image.Resampling.LANCZOS)


def scatter_grid(
    rows: Sequence[np.ndarray],
    labels: Sequence[Label],
    *,
    title: str,
    subtitle: str,
    note: str,
) -> Image.Image:
    """Samples that are no pictures: ``rows`` of points [N, D], drawn on the two main directions of
    all points together, one panel per label."""
    points = np.concatenate(rows).astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    centre = points.mean(axis=0) if len(points) else np.zeros(rows[0].shape[1])
    axes = np.linalg.svd(points - centre, full_matrices=False)[2][:2] if len(points) else None
    side, label_height = 250, 104
    cell = side + GAP
    width = max(2 * MARGIN + len(rows) * cell, 640)
    page, pen = blank(width, HEAD + side + label_height + FOOT, title, subtitle, note)
    if axes is None:
        return page
    spread = float(np.max(np.abs((points - centre) @ axes.T))) * 1.08 or 1.0
    for index, (values, label) in enumerate(zip(rows, labels, strict=True)):
        left, top = MARGIN + index * cell, HEAD + 10
        colour = _colour(index / max(len(rows) - 1, 1))
        box = (left, top, left + side, top + side)
        page.paste(_panel(values, centre, axes, spread, side, colour), box[:2])
        pen.rectangle(box, outline=TILE_EDGE)
        pen.text((left, top + side + 10), label.title, INK, font(21))
        for line_index, line in enumerate(label.lines):
            y = top + side + 38 + 19 * line_index
            pen.text((left, y), line, INK if line_index == 0 else SOFT, font(15))
    return page
