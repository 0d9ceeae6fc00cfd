"""High-density sampling (Karczewski et al., ICLR 2025, Algorithm 1)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import solve as solving
from densityguide.checks import concrete, count, require, scalar, state, verb
from densityguide.density import streams
from densityguide.density.error_bar import combined
from densityguide.density.log_density import encode
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Adjoint, Choices, Status
from densityguide.steer.decode import Decoded, decode
from densityguide.steer.doubling import doubled
from densityguide.steer.field import Traces
from densityguide.steer.guidance import Guidance
from densityguide.steer.sample import Sample, measured

__all__ = ["check_inside", "high_density"]


@verb
def high_density(
    flow: Flow,
    latent: Array,
    *,
    switch: ArrayLike,
    divergence: Trace | Auto | None = "auto",
    measure: bool = True,
    key: Array | None = None,
    steps: tuple[int, int] | int | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> Sample:
    """Decode a latent into a region of high density (Algorithm 1).

    The probability flow runs up to log-SNR ``switch`` and then ``dx/dl = drift x + sigma^2 s`` to
    the end, which doubles the score: excess rate ``c = sigma^2 |s|^2 / 2``, so that
    ``d log p/dl = -drift D - sigma^2 laplacian / 2 + sigma^2 |s|^2 / 2``. For Gaussian data the
    result tends to the mode of p(x_0 | x_switch). Early switches draw cartoons, late ones only
    remove noise. As in `sample`, ``log_density`` is measured by encoding the result.

    Args:
        switch: log-SNR, inside the flow's interval.
        divergence: the trace that reports log p; "auto" is exact up to D = 256, else none.
        measure: False leaves the encoding out: then only ``tracked`` is there.
        steps: of the two parts, or their sum, shared evenly (default 64).
        solver, rtol, atol, log_density_atol, max_steps, adjoint: of each solve, see
            `densityguide.solve.plan`.

    Raises:
        ValueError: no Gaussian path, or a switch outside the interval (a traced one becomes a
            status).
    """
    require_flow(flow, "high_density")
    x = state(latent, flow.shape, "latent")
    require(flow.path is not None, "high_density needs a Gaussian path")
    (start, stop), report = flow.interval, streams.reporting(flow, divergence, key)
    at, inside = scalar(switch, "switch"), check_inside(switch, flow, "switch")
    choices = Choices(None, None, solver, rtol, atol, log_density_atol, max_steps, adjoint)
    early, late = _share(steps, choices)
    keys = (None,) * 3 if key is None else tuple(jax.random.split(key, 3))

    def part(
        interval: tuple[Array, Array],
        x: Array,
        guidance: Guidance | None,
        key: Array | None,
        steps: int | None,
        start: Array | None = None,
    ) -> Decoded:
        piece = flow.between(*interval)
        method, numbers = solving.plan(piece, **choices._replace(steps=steps)._asdict())
        traces = Traces(report, None)
        return decode(method, traces, piece, x, guidance, None, key, numbers, start)

    # Two solves, so that no step of a solver straddles the switch.
    plain = part((start, at), x, None, keys[0], early)
    before = flow.between(start, at)
    reached = plain.tracked
    if reached is not None:
        reached = jnp.nan_to_num(reached - before.log_volume())  # the status tells a failure
    middle = before.to_state(plain.x)
    out = _joined(plain, part((at, stop), middle, doubled(), keys[1], late, reached))
    out = out._replace(status=out.status | jnp.where(inside, 0, int(Status.INVALID)))
    if report is None or not measure:
        return measured(flow, out, None)
    total = None if early is None or late is None else early + late
    return measured(flow, out, encode(flow, out.x, report, keys[2], choices._replace(steps=total)))


def _joined(first: Decoded, second: Decoded) -> Decoded:
    """Both parts as one; log p of the second part began where the first ended."""
    bar, path = None, None
    if first.bar is not None and second.bar is not None:
        bar = combined(first.bar, second.bar)
    if first.path is not None and second.path is not None:
        path = jnp.concatenate([first.path, second.path[1:]])
    return second._replace(
        bar=bar,
        path=path,
        evaluations=first.evaluations + second.evaluations,
        tangents=first.tangents + second.tangents,
        status=first.status | second.status,
    )


def check_inside(value: ArrayLike, flow: Flow, name: str, *, closed: bool = False) -> Array:
    """Whether a log-SNR lies in the range, ``closed`` at the noise end; raises where known."""
    known, first, last = (concrete(number) for number in (value, *flow.interval))
    if known is not None and first is not None and last is not None:
        require(
            bool(first < known < last or (closed and known == first)),
            f"{name} must lie inside the log-SNR range ({first:g}, {last:g}), got {known:g}",
        )
    at, (start, stop) = jnp.asarray(value), flow.interval
    return (start < at) & (at < stop) | (closed & (at == start))


def _share(steps: Any, choices: Choices) -> tuple[int | None, int | None]:
    """``steps=`` of the two parts; none for adaptive solves."""
    if choices.adaptive:
        require(steps is None, "steps= and rtol=/atol= contradict each other: pass one of them")
        return None, None
    if steps is None or not isinstance(steps, (tuple, list)):
        total = solving.DEFAULT_STEPS if steps is None else count(steps, 2, "steps")
        steps = (total // 2, total - total // 2)
    require(len(steps) == 2, f"steps must be a number or a pair, got {steps!r}")
    early, late = (count(n, 1, "steps") for n in steps)
    return early, late
