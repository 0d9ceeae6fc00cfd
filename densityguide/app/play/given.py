"""A picture of the user's own on the board: cut, edited at any quantile and depth, and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.app.commands import blocks, cut, inputs, own
from densityguide.app.commands.edit import LOST
from densityguide.app.play.board import Board, Measured, measured, pictures

__all__ = ["Evidence", "Given", "depths", "edited", "evidence", "read", "usual"]

SHALLOW = 2.0  # log-SNR from the data end: what is left there is hardly seen


class Given(NamedTuple):
    """A picture on the model's scale [1, ...], its integers, and what was done to it."""

    x: np.ndarray
    image: np.ndarray
    told: str | None


class Evidence(NamedTuple):
    """What `densityguide.edit` found: log p before and after, how far the picture moved, and how
    far the solver alone moves it (``lost`` where that is too far), root mean square."""

    before: Measured
    after: Measured
    moved: float
    round_trip: float
    lost: bool


def read(board: Board, path: Path) -> Given:
    """A picture file, its middle cut out and scaled as training does; ValueError or
    FileNotFoundError, one line, for what cannot be read."""
    found = cut.open_any([path], None, board.loaded)
    keys = blocks.sample_keys(board.settings.seed, 0, 1)
    x = inputs.on_model_scale(found, board.loaded, keys)
    told = cut.told(found.names[0], board.loaded.flow.shape)
    return Given(x, np.asarray(pictures(board, jnp.asarray(x)))[0], told)


def depths(board: Board) -> tuple[float, float]:
    """The deepest log-SNR to turn round at, the noise end, and the shallowest."""
    start, stop = (float(end) for end in board.loaded.flow.interval)
    return start, stop - SHALLOW if stop - SHALLOW > start else start


def _run(board: Board, given: Given, q: float, depth: float, measure: bool) -> Any:
    compiled = board.editor if measure else board.quick_editor
    kind = jnp.result_type(float)
    shared = board.loaded.flow, jnp.asarray(q, kind), jnp.asarray(depth, kind)
    # Of the key that the picture was dequantised with, another part.
    key = jax.random.fold_in(blocks.sample_keys(board.settings.seed, 0, 1)[0], 1)
    out = compiled.program(*shared, jnp.asarray(given.x), key[None])
    return jax.tree.map(lambda leaf: leaf[0], out)


def edited(board: Board, given: Given, q: float, depth: float) -> np.ndarray:
    """The picture [H, W, C] encoded to ``depth`` and decoded at ``q``, as integers."""
    out = _run(board, given, q, depth, measure=False)
    return np.asarray(pictures(board, out.x[None]))[0]


def evidence(board: Board, given: Given, q: float, depth: float) -> Evidence:
    """The numbers of the same edit."""
    out = _run(board, given, q, depth, measure=True)
    round_trip = float(out.round_trip)
    return Evidence(
        before=measured(board, out.before, out.before_error),
        after=measured(board, out.log_density, out.total_error),
        moved=float(out.moved),
        round_trip=round_trip,
        lost=round_trip > LOST * float(np.sqrt(np.mean(given.x**2))),
    )


def usual(board: Board, given: Given) -> str:
    """A sentence on how usual the picture is for the model."""
    (nats,) = own.given(board.loaded.flow, given.x, True, board.settings, lambda: None)
    return own.verdict(float(nats), board.others, board.loaded.flow)
