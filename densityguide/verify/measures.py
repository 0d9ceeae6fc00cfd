"""What a model's folder holds of measurements: calibration, range of the dial, error by steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import count as whole
from densityguide.checks import present, random_key, require, verb
from densityguide.density import streams
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.calibration import Calibration
from densityguide.flow.flow import Flow, require_flow
from densityguide.steer.calibrate import calibrate
from densityguide.steer.monotone import QUANTILES, Monotone, monotone_range
from densityguide.verify.steps_for import errors_at

__all__ = ["Measures", "measures"]

KNOTS = 48  # steps of a calibration
LADDER = (8, 16, 32, 64, 128)  # steps whose error is measured
OWN = 8  # samples by which it is


class Measures(NamedTuple):
    """``calibrations``: one, or that of no class and of each class in their order, each with its
    ``dial`` where one was measured; ``ranges``, what each dial rests on; ``solver_error`` [k], the
    largest solver's error in nats of log p of own samples at ``steps`` [k]."""

    calibrations: tuple[Calibration, ...]
    ranges: tuple[Monotone, ...]
    steps: tuple[int, ...]
    solver_error: np.ndarray


@verb
def measures(
    flow: Flow,
    key: Array,
    *,
    count: int = 64,
    latents: int = 16,
    values: Sequence[float] = QUANTILES,
    classes: bool = True,
    divergence: Trace | Auto = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Measures:
    """Everything that is measured of a model once, after every training.

    For each class that the flow knows (once, without classes): `calibrate` with ``count`` samples
    of 48 steps, and `monotone_range` with ``latents`` at each of ``values``. Then the solver's
    error of `log_density` for 8 of the flow's own samples at 8 to 128 steps.

    The dial is the range around 0.5, the plain model, in which every rise is above two standard
    errors; where there is none it is 0.5 alone, so that every other q is warned of.

    Args:
        classes: False leaves out all classes but none.
        progress: called with (parts done, parts in all).

    Raises:
        ValueError: a flow without a score, D above 256 without a trace, fewer than 8 samples or 4
            latents, values that do not rise or do not hold 0.5.
    """
    require_flow(flow, "measures")
    random_key(key, "measures needs key=: pass jax.random.key(...)")
    asked = np.asarray(values, np.float64)
    require(
        asked.ndim == 1 and bool((asked[1:-1] == 0.5).any()),
        f"values must rise and hold 0.5, the plain model, between others, got {values}",
    )
    number, rows = whole(count, 8, "count"), whole(latents, 4, "latents")
    trace = streams.required(flow, divergence, key, "measures")
    labels = list(flow.classes) if classes and flow.classes is not None else [None]
    total = 2 * len(labels) + len(LADDER)
    tick = _ticks(progress, total)
    key, key_steps = jax.random.split(key)
    kept: list[Calibration] = []
    ranges: list[Monotone] = []
    for label, key_label in zip(labels, jax.random.split(key, len(labels)), strict=True):
        told = flow if label is None else flow.given(label, calibration=None)
        key_natural, key_range = jax.random.split(key_label)
        told = calibrate(told, key_natural, count=number, divergence=trace, steps=KNOTS)
        tick()
        found = monotone_range(told, key_range, values=asked, count=rows, divergence=trace)
        tick()
        ranges.append(found)
        kept.append(present(told.calibration)._replace(dial=jnp.asarray(_dial(found))))
    errors = []
    for steps in LADDER:
        _, of_solver = errors_at(steps, flow, jax.random.split(key_steps, OWN), trace)
        errors.append(float(np.max(of_solver)))
        tick()
    return Measures(tuple(kept), tuple(ranges), LADDER, np.asarray(errors))


def _ticks(progress: Callable[[int, int], None] | None, total: int) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick


def _dial(found: Monotone) -> np.ndarray:
    """The ends of the run of rises that holds 0.5."""
    low = high = int(np.flatnonzero(found.values == 0.5)[0])
    while low > 0 and found.sure[low - 1]:
        low -= 1
    while high < len(found.sure) and found.sure[high]:
        high += 1
    return np.asarray(found.values[[low, high]], np.float32)
