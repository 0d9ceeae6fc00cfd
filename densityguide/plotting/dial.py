"""The dial as a page: the same latents at many log-densities, one slider moves all pictures."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from densityguide.checks import require
from densityguide.disk import atomic
from densityguide.disk.files import expanded
from densityguide.plotting import dial_curve

__all__ = ["Page", "dial"]

COLUMNS = {"narrow": 4, "middle": 4, "wide": 8}  # pictures side by side, at most
PLAIN = 0.5  # the quantile that asks for nothing


@dataclass(frozen=True)
class Page:
    """A whole page of HTML, which asks nothing of any other place. A notebook shows it."""

    html: str
    title: str = ""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it, as UTF-8, whole or not at all; OSError where the system refuses."""
        path = expanded(path)
        atomic.write(path, self.html)
        return path

    def _repr_html_(self) -> str:
        # Notebooks run no script of an output's own page; a frame has one of its own.
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="{escape(self.title)}" '
            'style="width:100%;height:640px;border:0"></iframe>'
        )


def dial(
    images: ArrayLike,
    positions: Sequence[float | str],
    log_density: ArrayLike,
    total_error: ArrayLike,
    *,
    bits_per_dim: ArrayLike | None = None,
    levels: int = 256,
    plain: int | None = None,
    title: str = "",
) -> Page:
    """A page with N pictures and one slider over R positions of the dial.

    Slider, arrow keys and a drag over any picture move all pictures at once. Every picture that is
    shown is one of those given: nothing is blended between positions.

    Args:
        images: integers 0 .. levels - 1, [R, N, H, W, C] with C of 1 or 3, in the order of the dial
            from more detail to smoother. Up to 256 levels are kept exactly; more are rounded to 8
            bits, as screens show them.
        positions: R of them. A number is a quantile and is written as ``q 0.6``, a text as it is.
        log_density: log p of each picture [R, N] in nats; where it is not finite the picture is
            marked as failed and left out of the mean.
        total_error: half-widths of their 95 % intervals [R, N] in nats.
        bits_per_dim: the same log p in bits/dim [R, N].
        plain: which position is the plain model; by default that of the quantile 0.5.

    Raises:
        ValueError: arrays of other shapes, pictures that are no integers, or no picture at all.
    """
    pictures = _pictures(images, levels)
    shape = pictures.shape[:2]
    nats = _numbers(log_density, shape, "log_density")
    errors = _numbers(total_error, shape, "total_error")
    bits = None if bits_per_dim is None else _numbers(bits_per_dim, shape, "bits_per_dim")
    require(
        len(positions) == shape[0],
        f"positions must be {shape[0]}, one for each row of images, got {len(positions)}",
    )
    require(
        plain is None or 0 <= plain < shape[0],
        f"plain must be one of the positions 0 .. {shape[0] - 1}, got {plain}",
    )
    if plain is None:
        plain = next((n for n, at in enumerate(positions) if at == PLAIN), None)
    places = _places([_label(at) for at in positions], nats, errors, bits, plain)
    return _page(pictures, places, plain, title or "Log-density as a dial", bits is not None)


def _pictures(images: ArrayLike, levels: int) -> np.ndarray:
    """Bytes [R, N, H, W, C]."""
    images = np.asarray(images)
    require(
        images.ndim == 5 and images.shape[-1] in (1, 3) and images.size > 0,
        f"dial takes [positions, pictures, height, width, 1 or 3], got {images.shape}",
    )
    whole = np.issubdtype(images.dtype, np.integer)
    require(whole, f"images must be integers 0 .. {levels - 1}, got {images.dtype}")
    low, high = int(images.min()), int(images.max())
    require(
        low >= 0 and high < levels,
        f"images must lie in 0 .. {levels - 1}, got {low} .. {high}: pass levels=",
    )
    return np.rint(images * (255.0 / max(levels - 1, 1))).astype(np.uint8)


def _numbers(values: ArrayLike, shape: tuple[int, ...], name: str) -> np.ndarray:
    array = np.asarray(values, np.float64)
    require(
        array.shape == shape,
        f"{name} must be {shape}, one for each picture, got {array.shape}",
    )
    return array


def _label(position: float | str) -> str:
    return position if isinstance(position, str) else f"q {position:g}"


def _decimals(errors: np.ndarray) -> int:
    """As many as show the first digit of the error bars: two at most."""
    known = errors[np.isfinite(errors) & (errors > 0)]
    size = math.floor(math.log10(float(np.median(known)))) if known.size else 0
    return min(max(-size, 0), 2)


def _written(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "\u2212")


def _mean(values: np.ndarray) -> float:
    """Over what is finite; nan of nothing."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _places(
    labels: list[str],
    nats: np.ndarray,
    errors: np.ndarray,
    bits: np.ndarray | None,
    plain: int | None,
) -> list[dict[str, Any]]:
    """What the page says at each position."""
    digits = _decimals(errors)
    ways = np.linspace(0.0, 100.0, len(labels)) if len(labels) > 1 else [0.0]
    means = [_mean(row) for row in nats]
    places: list[dict[str, Any]] = [
        {"label": label, "x": round(float(x), 3), "y": y}
        for label, x, y in zip(labels, ways, dial_curve.heights(means), strict=True)
    ]
    for n, place in enumerate(places):
        of_bits = None if bits is None else np.where(np.isfinite(nats[n]), bits[n], np.nan)
        place["failed"] = (~np.isfinite(nats[n])).tolist()
        place["nats"] = [_caption(*pair, digits) for pair in zip(nats[n], errors[n], strict=True)]
        place["bits"] = [""] * nats.shape[1] if of_bits is None else [*map(_bits, of_bits)]
        mean = _mean_text(means[n], of_bits, digits)
        place["value"] = _written(means[n], digits) if math.isfinite(means[n]) else ""
        place["spoken"] = f"{place['label']}{', the plain model' if n == plain else ''}, {mean}"
        place["mean"] = _with_count(mean, place["failed"])
    return places


def _mean_text(mean: float, bits: np.ndarray | None, decimals: int) -> str:
    if not math.isfinite(mean):
        return "every picture failed"
    second = "" if bits is None else _bits(_mean(bits))
    return f"log p {_written(mean, decimals)} nats" + (f", {second}" if second else "")


def _with_count(mean: str, failed: list[bool]) -> str:
    count, left = len(failed), failed.count(False)
    if left == 0:
        return mean
    return f"mean {mean}" + (f", over {left} of {count} pictures" if left < count else "")


def _bits(value: float) -> str:
    return f"{_written(value, 2)} bits/dim" if math.isfinite(value) else ""


def _caption(value: float, error: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "failed"
    bar = _written(error, decimals) if math.isfinite(error) else "unknown"
    return f"{_written(value, decimals)} \u00b1 {bar}"


def _sprite(column: np.ndarray, across: int) -> str:
    """All positions of one picture [R, H, W, C] as one PNG, row by row, in a data URI."""
    count, height, width, channels = column.shape
    down = math.ceil(count / across)
    tiles = np.zeros((down * across, height, width, channels), np.uint8)
    tiles[:count] = column
    sheet = tiles.reshape(down, across, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(down * height, across * width, channels)
    buffer = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _figure(column: np.ndarray, number: int, across: int) -> str:
    height, width = column.shape[1:3]
    return (
        f'<figure><canvas width="{width}" height="{height}" role="img" '
        f'aria-label="Picture {number}"></canvas>'
        f'<img hidden alt="" src="{_sprite(column, across)}">'
        '<figcaption><span class="nats"></span><span class="bits"></span></figcaption></figure>'
    )


def _columns(count: int) -> dict[str, int]:
    """Rows as even as they can be: 9 pictures are 5 and 4, not 8 and 1."""
    rows = {name: math.ceil(count / most) for name, most in COLUMNS.items()}
    return {name: math.ceil(count / down) for name, down in rows.items()}


def _json(record: dict[str, Any]) -> str:
    """JSON that no HTML parser takes for a tag."""
    text = json.dumps(record, allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _page(
    pictures: np.ndarray,
    places: list[dict[str, Any]],
    plain: int | None,
    title: str,
    with_bits: bool,
) -> Page:
    start = plain if plain is not None else len(places) // 2
    across = math.ceil(math.sqrt(len(places)))
    columns = pictures.swapaxes(0, 1)
    figures = [_figure(column, n + 1, across) for n, column in enumerate(columns)]
    record = {"start": start, "across": across, "places": places}
    template = resources.files(__package__).joinpath("dial.html").read_text("utf-8")
    html = Template(template).substitute(
        _columns(len(columns)),
        title=escape(title),
        place=escape(places[start]["label"]),
        mean=escape(places[start]["mean"]),
        spoken=escape(places[start]["spoken"]),
        curve=dial_curve.svg(places, plain),
        last=len(places) - 1,
        start=start,
        figures="\n".join(figures),
        bits_note=", and its bits/dim" if with_bits else "",
        data=_json(record),
    )
    return Page(html, title)
