"""From one sample to another through their latents, with log p along the way as asked."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, count, require, scalar, state, verb
from densityguide.density.log_density import LogDensity, encoded
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.solve import Adjoint, Choices, Grid, Numbers
from densityguide.steer import along as families
from densityguide.steer import rules
from densityguide.steer.land import solves_of, tolerance_of
from densityguide.steer.landing import Keys, Landing, landed

__all__ = ["Interpolation", "interpolate", "spherical"]

FLAT = 1e-4  # radians: below, an arc is its chord to rounding


class Interpolation(NamedTuple):
    """The frames, first to last; every field but ``noise_level`` has their axis [frames] first.

    ``requested`` is log p as asked for in nats; ``log_density`` the flow's own log p of ``x``,
    encoded with fresh probes, with ``standard_error``, ``degrees_of_freedom``, ``solver_error`` and
    ``total_error`` as of `Landing`. ``gap`` is log p minus the request with the probes of the
    search, ``parameter`` the family's, and ``moved`` the root mean square distance from where the
    search began. ``evaluations`` and ``tangents`` of the first and of the last frame hold those of
    encoding the given sample. ``status`` has NO_ROOT where no sample of the family has the log p
    that was asked for: then ``x`` is the nearest that was seen.
    """

    x: Array
    requested: Array
    log_density: Array
    standard_error: Array
    degrees_of_freedom: Array
    solver_error: Array
    total_error: Array
    gap: Array
    parameter: Array
    moved: Array
    unmet: Array
    evaluations: Array
    tangents: Array
    status: Array
    noise_level: Array


@verb
def interpolate(
    flow: Flow,
    a: Array,
    b: Array,
    *,
    frames: int = 9,
    log_density: ArrayLike | None = None,
    along: Any = None,
    tolerance: ArrayLike | None = None,
    iterations: int = 12,
    divergence: Trace | Auto = "auto",
    steering: Trace | Auto = "auto",
    key: Array | None = None,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
    log_density_atol: ArrayLike | None = None,
    max_steps: int | None = None,
    adjoint: Adjoint = "reverse",
) -> Interpolation:
    """From ``a`` to ``b`` by the arc between their latents, each frame landed at its own log p.

    Both are encoded. In between, the direction of the latent runs along the great circle at even
    speed, ``(sin((1 - s) w) u + sin(s w) v) / sin w`` with w the angle between u and v (slerp;
    Shoemake, SIGGRAPH 1985), and its norm straight from one to the other. The chord would not do:
    in D dimensions latents have norms near ``sigma sqrt(D)``, and midway between two of them,
    nearly orthogonal as they are, the chord's is smaller by sqrt(2), which no sample's is; what is
    decoded there is smooth, and its log p far too high.

    What the arc leaves of that is taken by `land`: log p of frame s is ``(1 - s) log p(a) +
    s log p(b)``, or ``log_density`` throughout, as found by encoding the frame, to the tolerance.
    By default the ends are the given samples, up to the error of a round trip. The search, and log
    p(a) and log p(b), which it has to meet, share their probes in all frames (common random
    numbers); the reports have probes of their own.

    Args:
        a, b: samples on the scale of data; opposite latents have no arc, and take the chord.
        frames: how many, with both ends.
        log_density: nats, for all frames.
        along: the family in which each frame is sought, as of `land`.
        tolerance, iterations: of each landing, as of `land`.
        divergence: the trace of all encodings; "auto" is exact up to D = 256.
        steering: of a guidance that needs a trace; as of `sample`.
        key: needed by estimated traces.
        steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint: of each solve, see
            `densityguide.solve.plan`.

    Raises:
        ValueError: what `land` would raise, fewer than 2 frames, or a log_density that is not
            finite.
    """
    require_flow(flow, "interpolate")
    a, b = state(a, flow.shape, "a"), state(b, flow.shape, "b")
    number, limit = count(frames, 2, "frames"), count(iterations, 1, "iterations")
    if log_density is not None:
        known = concrete(log_density)
        require(
            known is None or bool(np.isfinite(known).all()),
            f"log_density must be finite nats, got {log_density}",
        )
        log_density = scalar(log_density, "log_density").astype(a.dtype)
    if along is None:
        along = rules.target if flow.has_score else families.scale()
    family, near = families.of(along), tolerance_of(flow, a, tolerance)
    choices = Choices(steps, grid, solver, rtol, atol, log_density_atol, max_steps, adjoint)
    begin = jnp.zeros((), a.dtype)
    solves = solves_of(flow, begin, family, None, divergence, steering, key, choices)
    keys = Keys(*((None,) * 3 if key is None else tuple(jax.random.split(key, 3))))

    # What is traced goes beside what is compiled.
    numbers = solves.decoding_numbers, solves.encoding_numbers
    none: Any = None
    static = solves._replace(decoding_numbers=none, encoding_numbers=none)
    return _interpolate(
        static, number, limit, numbers, family, flow, (a, b), log_density, keys, near
    )


@partial(jax.jit, static_argnames=("static", "frames", "limit"))
def _interpolate(
    static: Any,
    frames: int,
    limit: int,
    numbers: tuple[Numbers, Numbers],
    family: families.Along,
    flow: Flow,
    given: tuple[Array, Array],
    log_density: Array | None,
    keys: Keys,
    near: Array,
) -> Interpolation:
    """`interpolate` after its checks: one program."""
    solves = static._replace(decoding_numbers=numbers[0], encoding_numbers=numbers[1])
    encoding = partial(encoded, solves.encoding, solves.report, flow)
    a, b = (encoding(x, keys.search, numbers[1]) for x in given)
    shares = jnp.linspace(0.0, 1.0, frames, dtype=a.latent.dtype)
    latents = jax.vmap(partial(spherical, a.latent, b.latent))(shares)
    requested = (1.0 - shares) * a.value + shares * b.value
    if log_density is not None:
        requested = jnp.broadcast_to(log_density, requested.shape)
    reports = None if keys.report is None else jax.random.split(keys.report, frames)

    def one(frame: tuple[Array, Array, Array | None]) -> Landing:
        own = keys._replace(report=frame[2])
        return landed(solves, limit, family, flow, frame[0], frame[1], None, own, near)

    # One after another: a search that goes on holds up nobody, and every evaluation counts.
    return _film(a, b, requested, jax.lax.map(one, (latents, requested, reports)))


def spherical(u: Array, v: Array, share: Array) -> Array:
    """The point at ``share`` of the arc from ``u`` to ``v``: spherical in direction, linear in
    norm. Where they have one direction, opposite ones or none, the chord."""
    first, last = _norm(u), _norm(v)
    safe = (jnp.where(norm > 0, norm, 1.0) for norm in (first, last))
    one, other = (w / norm for w, norm in zip((u, v), safe, strict=True))
    # The arc cosine of a product loses half of the digits of a small angle.
    angle = 2.0 * jnp.arctan2(_norm(one - other), _norm(one + other))
    flat = (jnp.sin(angle) < FLAT) | (first == 0) | (last == 0)
    angle = jnp.where(flat, 1.0, angle)
    shares = jnp.sin((1.0 - share) * angle), jnp.sin(share * angle)
    direction = (shares[0] * one + shares[1] * other) / jnp.sin(angle)
    radius = (1.0 - share) * first + share * last
    return jnp.where(flat, (1.0 - share) * u + share * v, radius * direction).astype(u.dtype)


def _norm(x: Array) -> Array:
    """With a derivative at 0 too."""
    power = jnp.sum(x**2)
    return jnp.where(power > 0, jnp.sqrt(jnp.where(power > 0, power, 1.0)), 0.0)


def _film(first: LogDensity, last: LogDensity, requested: Array, found: Landing) -> Interpolation:
    def with_ends(frames: Array, one: Array, other: Array) -> Array:
        return frames.at[0].add(one).at[-1].add(other)

    same = {name: value for name, value in found._asdict().items() if name in Interpolation._fields}
    return Interpolation(
        **same
        | {
            "requested": requested,
            "evaluations": with_ends(found.evaluations, first.evaluations, last.evaluations),
            "tangents": with_ends(found.tangents, first.tangents, last.tangents),
            "status": found.status | first.status | last.status,
            "noise_level": found.noise_level[0],
        }
    )
