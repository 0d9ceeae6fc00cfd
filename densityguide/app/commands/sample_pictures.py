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

LATENTS, VALUES = 9, 7  # of the grid at most; values where --frames makes many
ON_THE_PAGE = 64  # pictures that move at once


def drawn(dial: Dial, count: int) -> list[int]:
    """Which of ``count`` values the grid shows: all, or with --frames a few at even distances."""
    few = count if dial.frames is None else min(count, VALUES)
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


def _head(dial: Dial, row: dict[str, Any]) -> tuple[str, ...]:
    """What was asked for, and what came of it."""
    kind, amount = dial.position(row[dial.name]).split(" ", 1)
    asked = (f"{kind} {amount}",) if dial.kind == "q" else (kind, amount)
    plain = ", plain" if row[dial.name] == PLAIN.get(dial.kind) else ""
    bits, size = f"{row['bits_per_dim']:.2f} bits/dim", f"PNG {row['png_bytes']:,.0f} B"
    return f"{asked[0]}{plain}", *asked[1:], f"log p {row['log_density_nats']:,.0f}", bits, size


def _turns_back(dial: Dial, rows: list[dict[str, Any]]) -> str:
    """A sentence where log p is larger at some value than at every later one, and certainly so."""
    found = np.asarray([row["log_density_nats"] for row in rows])
    if not np.isfinite(found).all():
        return ""
    top = int(np.argmax(found))
    within = max(row["measured_within_nats"] for row in rows[top:])
    if top + 1 == len(rows) or found[top] - found[top + 1 :].max() <= within:
        return ""
    return f" Beyond {dial.position(rows[top][dial.name])} log p falls again."


def grid(
    loaded: Source,
    dial: Dial,
    rows: list[dict[str, Any]],
    outs: list[Any],
    images: list[np.ndarray] | None,
) -> Image.Image:
    """The same latents at each log-density: pictures, or points on their two main directions."""
    shown = drawn(dial, len(rows))
    if images is None:
        levels = _levels([row["log_density_nats"] for row in rows])
        labels = [
            plotting.Label(
                dial.label(rows[n]), (f"log p {rows[n]['log_density_nats']:,.0f} nats",), levels[n]
            )
            for n in shown
        ]
        return plotting.scatter_grid(
            [np.reshape(outs[n].x, (len(outs[n].x), -1)) for n in shown],
            labels,
            title=loaded.name,
            subtitle="the same latents at each requested log-density; two main directions",
            note="log p: the model's own, found by encoding, in nats; mean over the row",
        )
    order = sorted(shown, key=lambda n: float(rows[n][dial.name]))
    back = _turns_back(dial, [rows[n] for n in order])
    return plotting.dial_strip(
        [images[n][:LATENTS] for n in order],
        [_head(dial, rows[n]) for n in order],
        loaded.levels,
        title=loaded.name,
        subtitle="Every row is one latent; only the requested log-density changes along it.",
        note="A smooth picture is the likelier one because each of its pixels follows from its "
        "neighbours, while detail is one of very many possibilities. log p in nats and bits/dim "
        "(-log2 p per dimension) are the model's own, found by encoding, and means over the "
        f"{rows[0]['samples']} samples of a column.{back}",
    )
