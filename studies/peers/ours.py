"""densityguide itself: `log_density` under `jit` and `vmap`, as README shows it."""

from __future__ import annotations

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from densityguide.density.trace import Trace
from studies.peers.entrant import Entrant, Run, words
from studies.peers.subjects import Subject

__all__ = ["OURS"]


def log_densities(flow: dg.Flow, x: Any, **options: Any) -> Any:
    """What a user writes."""
    return jax.vmap(lambda x: dg.log_density(flow, x, **options).value)(x)


def _options(setting: str) -> dict[str, Any]:
    given = words(setting)
    solvers = {
        "default": None,
        "adaptive": None,
        "tsit5": diffrax.Tsit5(),
        **{f"adams{order}": dg.Adams(order) for order in (3, 4, 5)},
    }
    options: dict[str, Any] = {"solver": solvers[given["method"]]}
    if "steps" in given:
        options["steps"] = int(given["steps"])
    if "rtol" in given:
        options["rtol"] = float(given["rtol"])
    return options


def _program(subject: Subject, setting: str) -> Run:
    options = _options(setting)
    flow, x = subject.flow, jnp.asarray(subject.samples)
    volume = float(flow.log_volume())  # log p of the state, as everybody else gives it
    if subject.exact:
        run = jax.jit(lambda flow, x: log_densities(flow, x, **options))
        return lambda: np.asarray(run(flow, x)) - volume
    probe = jnp.asarray(subject.probe)
    run_frozen = jax.jit(jax.vmap(lambda *row: _frozen(*row, options), (None, 0, 0)))
    return lambda: np.asarray(run_frozen(flow, x, probe)) - volume


def _frozen(flow: dg.Flow, x: Any, probe: Any, options: dict[str, Any]) -> Any:
    """With the others' one probe throughout, so that errors of solvers are compared alike. Not what
    is recommended here: one probe has no error bar."""
    trace = Trace(lambda *given: probe[None], 1)
    key = jax.random.key(0)
    return dg.log_density(flow, x, divergence=trace, key=key, **options).value


OURS = Entrant(
    name="densityguide",
    package="densityguide",
    default="default",
    ladder=tuple(f"adams4 steps={n}" for n in (8, 12, 16, 24, 32, 48)),
    planar=(
        "adams4 steps=20",
        *(f"adams3 steps={n}" for n in (8, 12)),
        *(f"adams5 steps={n}" for n in (16, 20, 24, 32)),
        *(f"tsit5 steps={n}" for n in (3, 4, 6, 8)),
        *(f"adaptive rtol={tolerance}" for tolerance in ("1e-3", "1e-4")),
    ),
    program=_program,
    compiles=True,
    written=log_densities,
    without="-",
)
