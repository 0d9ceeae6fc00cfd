"""What ``densityguide sample`` draws: the grid, and the page of the dial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from densityguide import plotting
from densityguide.app import summary
from densityguide.app.dial import PLAIN, Dial
from densityguide.app.source import Source

__all__ = ["dial_page", "drawn", "grid"]

COLUMNS, ROWS = 16, 7  # of the grid at most; rows where --frames makes many
ON_THE_PAGE = 64  # pictures that move at once


def drawn(dial: Dial, count: int) -> list[int]:
    """Which of ``count`` rows the grid shows: all, or with --frames a few at even distances."""
    few = count if dial.frames is None else min(count, ROWS)
    return np.rint(np.linspace(0, count - 1, few)).astype(int).tolist()


def dial_page(
    loaded: Source, dial: Dial, values: Sequence[float], outs: list[Any], images: list[np.ndarray]
) -> plotting.Page:
    """Every row, from more detail to smoother."""
    order = np.argsort(values, kind="stable").tolist()
    plain = [n for n, index in enumerate(order) if values[index] == PLAIN.get(dial.kind)]
    log_p = np.stack([outs[index].log_density[:ON_THE_PAGE] for index in order])
    return plotting.dial(
        np.stack([images[index][:ON_THE_PAGE] for index in order]),
        [dial.position(values[index]) for index in order],
        log_p,
        np.stack([outs[index].total_error[:ON_THE_PAGE] for index in order]),
        bits_per_dim=summary.bits(loaded.flow, log_p),
        levels=loaded.levels,
        plain=plain[0] if plain else None,
        title=f"{loaded.name}: log-density as a dial",
    )


def _levels(values: list[float]) -> list[float]:
    """From 0 for the smallest to 1 for the largest."""
    finite = [value for value in values if np.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    return [
        (value - low) / (high - low) if high > low and np.isfinite(value) else 0.0
        for value in values
    ]


def _label(dial: Dial, row: dict[str, Any], level: float, is_image: bool) -> plotting.Label:
    lines = [f"log p {row['log_density_nats']:,.0f} nats"]
    if is_image:
        lines += [f"{row['bits_per_dim']:.2f} bits/dim", f"PNG {row['png_bytes']:,.0f} bytes"]
    return plotting.Label(dial.label(row), tuple(lines), level)


def grid(
    loaded: Source,
    dial: Dial,
    rows: list[dict[str, Any]],
    outs: list[Any],
    images: list[np.ndarray] | None,
) -> Image.Image:
    """A row for each log-density: pictures, or points on their two main directions."""
    shown = drawn(dial, len(rows))
    levels = _levels([row["bits_per_dim" if images else "log_density_nats"] for row in rows])
    labels = [_label(dial, rows[n], levels[n], images is not None) for n in shown]
    if images is None:
        return plotting.scatter_grid(
            [np.reshape(outs[n].x, (len(outs[n].x), -1)) for n in shown],
            labels,
            title=loaded.name,
            subtitle="the same latents at each requested log-density; two main directions",
            note="log p: the model's own, found by encoding, in nats; mean over the row",
        )
    return plotting.image_grid(
        [images[n][:COLUMNS] for n in shown],
        labels,
        loaded.levels,
        title=loaded.name,
        subtitle="Every column is one latent; only the requested log-density changes along it.",
        note="log p and bits/dim (-log2 p per dimension): the model's own, found by encoding; "
        "means over the row. The bar runs from the smallest to the largest row.",
    )
