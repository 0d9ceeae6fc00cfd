"""Pictures and captions of the page as HTML; no request leaves it, pictures are data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import NamedTuple

import numpy as np
from PIL import Image

from densityguide.app.commands.tables import number
from densityguide.app.play.board import Measured

__all__ = ["Figure", "board", "caption", "line", "style"]


class Figure(NamedTuple):
    """A picture [H, W, C] of integers 0 .. levels - 1, its name for those who do not see it, and
    the lines below it."""

    image: np.ndarray
    levels: int
    name: str
    lines: Sequence[str]


def style() -> str:
    """The style sheet of the page."""
    return resources.files(__package__).joinpath("play.css").read_text("utf-8")


def caption(found: Measured | None) -> tuple[str, str]:
    """Log p with its error bar, and bits/dim; or that they are on their way."""
    if found is None:
        return "measuring log p", "\u2026"
    if not np.isfinite(found.nats):
        return "failed", "log p is not finite"
    digits = 2 if found.error < 0.05 else 1 if found.error < 1.0 else 0
    bar = number(found.error, digits) if np.isfinite(found.error) else "unknown"
    return f"log p {number(found.nats, digits)} \u00b1 {bar}", f"{number(found.bits, 2)} bits/dim"


def board(figures: Sequence[Figure]) -> str:
    """Pictures side by side."""
    return f'<div class="dg-board dg-{len(figures)}">{"".join(map(_figure, figures))}</div>'


def _figure(one: Figure) -> str:
    first, *others = (f"<span>{escape(text)}</span>" for text in one.lines)
    return (
        f'<figure><img alt="{escape(one.name)}" src="{_uri(one.image, one.levels)}">'
        f"<figcaption><b>{first}</b>{''.join(others)}</figcaption></figure>"
    )


def _uri(image: np.ndarray, levels: int) -> str:
    full = np.rint(image * (255.0 / (levels - 1))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(full[..., 0] if full.shape[-1] == 1 else full).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def line(text: str, *, wrong: bool = False) -> str:
    """A sentence below the pictures, which a screen reader reads out when it changes."""
    role = 'role="alert" class="dg-line dg-wrong"' if wrong else 'role="status" class="dg-line"'
    return f"<p {role}>{escape(text)}</p>"
