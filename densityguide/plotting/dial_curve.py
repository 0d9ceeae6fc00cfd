"""The small curve above the slider of the dial: mean log p at every position, as inline SVG.

Places along it are percentages, so that the curve is as wide as the slider and its letters keep
their size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["heights", "svg"]

TOP, BOTTOM, FLOOR = 38.0, 88.0, 108.0  # pixels: the largest mean, the smallest, the slider
ABOVE, BELOW = -10.0, 17.0  # from a dot to the baseline of its number
MARGIN = 15.0  # percent of the way, near whose ends a text leans inwards


def heights(means: Sequence[float]) -> list[float | None]:
    """Pixels from the top for each mean; None where there is none."""
    known = [mean for mean in means if math.isfinite(mean)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    span = (high - low) or 1.0
    return [
        round(BOTTOM - (BOTTOM - TOP) * (mean - low) / span, 2) if math.isfinite(mean) else None
        for mean in means
    ]


def _text(x: float, y: float, words: str) -> str:
    anchor = "start" if x < MARGIN else "end" if x > 100.0 - MARGIN else "middle"
    return f'<text x="{x}%" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def _number(end: dict[str, Any], neighbour: dict[str, Any]) -> str:
    """The value at an end of the curve, on the side where its neighbour is not: with many places
    that one is nearer than the number is wide."""
    away = BELOW if neighbour["y"] < end["y"] else ABOVE
    return _text(end["x"], end["y"] + away, end["value"])


def _ways(places: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f'<line class="way" x1="{a["x"]}%" y1="{a["y"]}" x2="{b["x"]}%" y2="{b["y"]}"/>'
        for a, b in itertools.pairwise(places)
        if a["y"] is not None and b["y"] is not None
    ]


def svg(places: Sequence[dict[str, Any]], plain: int | None) -> str:
    """The curve through ``places`` (each with x, y, label, value, mean), the plain model marked."""
    known = [place for place in places if place["y"] is not None]
    parts = []
    if plain is not None:
        x = places[plain]["x"]
        parts.append(f'<line class="plain" x1="{x}%" y1="18" x2="{x}%" y2="{FLOOR}"/>')
        parts.append(_text(x, 12.0, "the plain model"))
    parts += _ways(places)
    # The ends of the scale, as numbers; a lone one stands in the line above already.
    if len(known) > 1:
        parts += [_number(*known[:2]), _number(*known[:-3:-1])]
    parts += [f'<circle class="dot" cx="{p["x"]}%" cy="{p["y"]}" r="3"/>' for p in known]
    parts.append(f'<line id="cursor" y2="{FLOOR}"/><circle id="marker" r="6" visibility="hidden"/>')
    first, last = places[0], places[-1]
    said = f"from {first['label']}, {first['mean']}, to {last['label']}, {last['mean']}"
    label = escape(f"Curve of the mean log p: {said}")
    return f'<svg class="curve" role="img" aria-label="{label}">{"".join(parts)}</svg>'
