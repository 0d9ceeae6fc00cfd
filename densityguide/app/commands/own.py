"""How unusual samples are for a model: their log p beside that of the model's own samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from densityguide.app.commands import blocks, tables
from densityguide.app.commands.blocks import Tick
from densityguide.app.requests import Settings
from densityguide.density.log_density import log_density
from densityguide.flow.flow import Flow
from densityguide.steer import sample as sampling

__all__ = ["Own", "drawn", "given", "short", "verdict"]

APART = 2**30  # between the indices of own samples and those of what is given
FAR = 3.0  # standard deviations between own samples


class Own(NamedTuple):
    """Mean and standard deviation of log p over ``samples`` own samples, in nats."""

    mean_nats: float
    spread_nats: float
    samples: int


def drawn(flow: Flow, settings: Settings, count: int, tick: Tick) -> Own | None:
    """Log p of plain samples; None where fewer than two of them are finite."""

    def one(flow: Flow, key: jax.Array) -> Any:
        return sampling.draw(flow, key, divergence=settings.trace, **settings.options).log_density

    def keys(start: int, stop: int) -> tuple[jax.Array]:
        return (blocks.sample_keys(settings.seed, APART + start, APART + stop),)

    found = _run(one, flow, keys, count, tick)
    found = found[np.isfinite(found)]
    if len(found) < 2:
        return None
    return Own(float(found.mean()), float(found.std(ddof=1)), len(found))


def given(flow: Flow, x: np.ndarray, integers: bool, settings: Settings, tick: Tick) -> np.ndarray:
    """Log p [n] of what is given, as comparable with own samples: with the noise that those end
    with. A clean picture lacks it, and its log p is larger for that alone, by up to D / 2 nats."""
    level = flow.noise_level() if integers else 0.0

    def one(flow: Flow, x: jax.Array, key: jax.Array) -> Any:
        key_noise, key_trace = jax.random.split(key)
        noised = x + level * jax.random.normal(key_noise, x.shape, x.dtype)
        trace = settings.trace
        return log_density(flow, noised, divergence=trace, key=key_trace, **settings.options).value

    def read(start: int, stop: int) -> tuple[Any, ...]:
        rows = np.minimum(np.arange(start, stop), len(x) - 1)
        begin = 2 * APART + start
        return x[rows], blocks.sample_keys(settings.seed, begin, begin + stop - start)

    return _run(one, flow, read, len(x), tick)


def _run(
    one: Callable[..., Any],
    flow: Flow,
    read: Callable[[int, int], tuple[Any, ...]],
    count: int,
    tick: Tick,
) -> np.ndarray:
    compiled = blocks.compile_block(one, (flow,), read(0, blocks.block_of(count)))
    return np.asarray(blocks.run(compiled, (flow,), read, count, tick), np.float64)


def short(nats: float, own: Own | None) -> str:
    """``"1,200 nats below the model's own samples"``, for a page."""
    if own is None or not math.isfinite(nats):
        return ""
    far = nats - own.mean_nats
    side = "below" if far < 0 else "above"
    return f"{tables.number(abs(far), 0)} nats {side} the mean of the model's own samples"


def verdict(nats: float, own: Own | None, flow: Flow) -> str:
    """The same as a sentence that says what to make of it."""
    if own is None or not math.isfinite(nats):
        return "log p could not be compared with that of the model's own samples"
    far = nats - own.mean_nats
    bits = f" ({abs(far) / flow.size / math.log(2.0):.2f} bits/dim)" if flow.transform else ""
    where = f"log p is {tables.number(abs(far), 0)} nats{bits} {'below' if far < 0 else 'above'}"
    spread = tables.number(own.spread_nats, 0)
    told = f"{where} the mean of {own.samples} samples of the model's own, which spread by {spread}"
    if abs(far) <= FAR * own.spread_nats:
        return f"{told}: to the model it is a sample like others"
    if far < 0:
        return f"{told}: this model has hardly seen such samples"
    return f"{told}: it is plainer than what the model makes"
