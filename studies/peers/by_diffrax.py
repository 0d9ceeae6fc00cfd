"""diffrax, written out by hand after its own example of a continuous normalizing flow.

Its example solves with Tsit5 at ten constant steps, and takes the trace in reverse mode: exact from
D cotangents, or one probe that it keeps.
"""

from __future__ import annotations

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from studies.peers.entrant import Entrant, Run, words
from studies.peers.subjects import Subject

__all__ = ["DIFFRAX", "log_density", "steps_of"]


def log_density(field: Any, params: Any, x: Any, probe: Any, solving: dict[str, Any]) -> Any:
    """What a user writes: log p and the latent."""

    def exact(t: Any, y: Any, args: Any) -> Any:
        u, pull = jax.vjp(lambda x: field(params, x, t), y[0])
        rows = jnp.eye(u.size).reshape(u.size, *u.shape)
        return u, jnp.trace(jax.vmap(pull)(rows)[0].reshape(u.size, u.size))

    def estimated(t: Any, y: Any, args: Any) -> Any:
        u, pull = jax.vjp(lambda x: field(params, x, t), y[0])
        return u, jnp.sum(pull(probe)[0] * probe)

    term = diffrax.ODETerm(exact if probe is None else estimated)
    solution = diffrax.diffeqsolve(term, t0=1.0, t1=0.0, y0=(x, jnp.zeros(())), **solving)
    latent, change = solution.ys[0][0], solution.ys[1][0]
    return jnp.sum(jax.scipy.stats.norm.logpdf(latent)) + change, latent


def steps_of(setting: str) -> dict[str, Any]:
    """Arguments of ``diffeqsolve``."""
    given = words(setting)
    solver = {"tsit5": diffrax.Tsit5, "dopri8": diffrax.Dopri8}[given["method"]]()
    if "steps" in given:
        return {"solver": solver, "dt0": -1.0 / int(given["steps"])}
    tolerance = float(given["rtol"])
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    return {"solver": solver, "dt0": None, "stepsize_controller": controller}


def _program(subject: Subject, setting: str) -> Run:
    solving = steps_of(setting)
    params, x = subject.params, jnp.asarray(subject.states)
    probe = None if subject.exact else jnp.asarray(subject.probe)
    own = None if probe is None else 0

    def one(params: Any, x: Any, probe: Any) -> Any:
        return log_density(subject.jax_field, params, x, probe, solving)[0]

    run = jax.jit(jax.vmap(one, (None, 0, own)))
    return lambda: np.asarray(run(params, x, probe))


DIFFRAX = Entrant(
    name="diffrax, by hand",
    package="diffrax",
    default="tsit5 steps=10",
    ladder=(
        *(f"tsit5 steps={n}" for n in (3, 4, 6, 8, 16)),
        *(f"tsit5 rtol={tolerance}" for tolerance in ("1e-2", "1e-3", "1e-4")),
    ),
    program=_program,
    compiles=True,
    written=log_density,
    without="error bar",
)
