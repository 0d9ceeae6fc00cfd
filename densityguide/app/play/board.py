"""Four latents of a model at any quantile, and their log p: what the page computes."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.app import requests, source, summary
from densityguide.app.commands import blocks, own
from densityguide.app.commands.blocks import Compiled
from densityguide.app.commands.own import Own
from densityguide.app.requests import Request, Settings
from densityguide.app.source import Source
from densityguide.density.log_density import log_density
from densityguide.models import card, pretrained
from densityguide.steer import rules
from densityguide.steer import sample as sampling
from densityguide.steer.edit import edit

__all__ = ["COUNT", "Board", "Measured", "Turn", "measure", "named", "opened", "reach", "turn"]

COUNT = 4  # pictures
WIDE = (0.02, 0.98)  # of the dial, where no range was measured for the model
PLAIN = 0.5
OWN = 8  # samples of the model's own, as many as `densityguide edit` takes


class Turn(NamedTuple):
    """The dial at ``q``: states [COUNT, ...] of the latents of ``seed``, and their integers."""

    q: float
    seed: int
    x: np.ndarray
    images: np.ndarray


class Measured(NamedTuple):
    """Log p of one picture in nats, the half-width of its 95 % interval, and its bits/dim."""

    nats: float
    error: float
    bits: float


@dataclass(frozen=True, eq=False)
class Board:
    """A model with its settings, those of ``densityguide sample``. Programs are compiled when they
    are first needed, and serve every q, seed and picture."""

    loaded: Source
    settings: Settings
    turning: Any = field(default_factory=threading.Lock)  # one turn at a time: all take every core

    @cached_property
    def decoder(self) -> Compiled:
        """All pictures at once, without their log p."""

        def one(flow: Any, q: jax.Array, key: jax.Array) -> jax.Array:
            guidance, options = rules.quantile(q), self.settings.options
            # Of the same key as in `sample`, so that these are its pictures.
            out = sampling.draw(
                flow, key, guidance=guidance, divergence=None, measure=False, **options
            )
            return out.x

        keys = jax.eval_shape(lambda: blocks.sample_keys(0, 0, COUNT))
        return blocks.compile_block(one, (self.loaded.flow, number()), (keys,))

    @cached_property
    def encoder(self) -> Compiled:
        """Log p of one picture: the page shows it before the next is measured."""

        def one(flow: Any, x: jax.Array, key: jax.Array) -> Any:
            trace, options = self.settings.trace, self.settings.options
            found = log_density(flow, x, divergence=trace, key=key, **options)
            return found.value, found.total_error

        return blocks.compile_block(one, (self.loaded.flow,), self._one())

    @cached_property
    def quick_editor(self) -> Compiled:
        """One picture of the user's own, without evidence."""
        return self._editor(measure=False)

    @cached_property
    def editor(self) -> Compiled:
        """The same with evidence, at several times the cost."""
        return self._editor(measure=True)

    def _editor(self, measure: bool) -> Compiled:
        def one(flow: Any, q: jax.Array, depth: jax.Array, x: jax.Array, key: jax.Array) -> Any:
            return edit(
                flow,
                x,
                guidance=rules.quantile(q),
                depth=depth,
                divergence=self.settings.trace if measure else None,
                measure=measure,
                key=key,
                **self.settings.options,
            )

        return blocks.compile_block(one, (self.loaded.flow, number(), number()), self._one())

    def _one(self) -> tuple[Any, ...]:
        """Shapes of one picture and its key."""
        x = jax.ShapeDtypeStruct((1, *self.loaded.flow.shape), jnp.result_type(float))
        return x, jax.eval_shape(lambda: blocks.sample_keys(0, 0, 1))

    @cached_property
    def others(self) -> Own | None:
        """Log p of a few samples of the model's own, to compare a picture's with."""
        return own.drawn(self.loaded.flow, self.settings, OWN, lambda: None)


def number() -> jax.ShapeDtypeStruct:
    """A traced number."""
    return jax.ShapeDtypeStruct((), jnp.result_type(float))


def named() -> list[str]:
    """The shipped models of pictures."""
    cards = {
        name: card.read(pretrained.folder_of(name) / "card.json") for name in pretrained.names()
    }
    return [name for name, known in cards.items() if known.transform["levels"]]


def opened(request: Request) -> Board:
    """The board of a model; ValueError or FileNotFoundError, one line, for what is none."""
    requests.check(request)
    loaded = source.load(request.model, request.condition)
    if not loaded.is_image or loaded.pictures is None:
        raise ValueError(
            f"play shows pictures, and {loaded.name} makes none: take one of {', '.join(named())}"
        )
    request = dataclasses.replace(request, count=COUNT)
    guidance = rules.quantile(PLAIN)
    return Board(loaded, requests.settings(request, loaded, count=COUNT, guidance=guidance))


def reach(board: Board) -> tuple[float, float]:
    """The ends of the dial: where the model's own log p was seen to rise with q, else `WIDE`."""
    calibration = board.loaded.flow.calibration
    if calibration is None or calibration.dial is None:
        return WIDE
    low, high = np.asarray(calibration.dial, float).tolist()
    # Inwards to whole hundredths, the steps of the dial.
    return float(np.ceil(round(100 * low, 3)) / 100), float(np.floor(round(100 * high, 3)) / 100)


def turn(board: Board, q: float, seed: int) -> Turn:
    """The pictures at ``q``: those that ``densityguide sample`` draws first with this seed."""
    flow = board.loaded.flow
    keys = blocks.sample_keys(seed, 0, COUNT)
    x = board.decoder.program(flow, jnp.asarray(q, jnp.result_type(float)), keys)
    return Turn(q, seed, np.asarray(x), np.asarray(pictures(board, x)))


def pictures(board: Board, x: Any) -> Any:
    """Integers of states [n, ...]."""
    decode = board.loaded.pictures
    assert decode is not None  # `opened` saw to it
    return decode(x)


def measure(board: Board, shown: Turn, index: int) -> Measured:
    """The model's own log p of one of the pictures, found by encoding it."""
    key = blocks.sample_keys(shown.seed, index, index + 1)
    one = jnp.asarray(shown.x[index : index + 1])
    nats, error = board.encoder.program(board.loaded.flow, one, key)
    return measured(board, nats[0], error[0])


def measured(board: Board, nats: Any, error: Any) -> Measured:
    """Numbers of the program, as Python's own."""
    return Measured(float(nats), float(error), float(summary.bits(board.loaded.flow, nats)))
