"""What a job computes, whatever its kind: one sample as a function, and its inputs by number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from densityguide.app import requests
from densityguide.app.jobs.config import Job, Solve
from densityguide.app.requests import Request, Settings
from densityguide.app.source import Source
from densityguide.checks import require
from densityguide.density.trace import Trace, exact, hutchinson, orthogonal

__all__ = ["Facts", "Work", "arrays_digest", "options", "sample_key", "seed_key"]

Arrays = dict[str, np.ndarray]
Facts = dict[str, Any]
STEPS = "number of steps"  # among the facts of a job with a tolerance


class Work(NamedTuple):
    """``one(shared, *sample)`` gives the arrays of one sample, of which there are ``samples``.

    ``inputs(indices)`` are the arguments of these samples, with a leading axis; ``finish`` turns
    the results of a shard into what is stored; ``small`` names the stored arrays that ``summarise``
    wants of all samples together. ``facts`` say what the results depend on beside the settings.
    """

    one: Callable[..., Any]
    shared: Any
    samples: int
    inputs: Callable[[np.ndarray], tuple[Any, ...]]
    finish: Callable[[Arrays], Arrays]
    small: tuple[str, ...]
    summarise: Callable[[Arrays], dict[str, Any]]
    facts: Facts


def seed_key(seed: int) -> jax.Array:
    """The key of the whole job."""
    return jax.random.key(np.uint32(seed))


def sample_key(key: jax.Array, index: jax.Array) -> jax.Array:
    """The key of one sample: ``fold_in(job key, index)``."""
    return jax.random.fold_in(key, index)


def options(job: Job, loaded: Source, known: Facts) -> tuple[dict[str, Any], Trace | None, Facts]:
    """Options of the solve, its trace, and the facts that these rest on. Options that are not set
    fit the model, as in ``densityguide sample``; the steps that a tolerance chose are not looked
    for again where they are ``known``."""
    solving, solver = job.solve, job.solve.solver or None
    asked = Request(job.model, steps=solving.steps or None, solver=solver)
    fitting = requests.settings(asked, loaded, count=1)
    chosen, trace = fitting.options, _trace(solving, fitting.trace)
    facts: Facts = {}
    if solving.tolerance != "":
        facts = {STEPS: known.get(STEPS) or _steps(job, loaded, fitting, trace)}
        chosen = chosen | {"steps": facts[STEPS]}
    given = {name: getattr(solving, name) for name in ("rtol", "atol")}
    tolerances = {name: value for name, value in given.items() if value}
    if tolerances:
        chosen = tolerances | ({"solver": fitting.solver} if solver else {})
        require(
            not solving.steps,
            "expected solve.steps or solve.rtol and solve.atol, got both "
            f"({solving.steps} and {max(tolerances.values())}): leave one out",
        )
    return chosen, trace, facts


def _steps(job: Job, loaded: Source, fitting: Settings, trace: Trace | None) -> int:
    solver = fitting.options["solver"]
    measuring = fitting.trace if trace is None else trace
    text = str(job.solve.tolerance)
    return requests.steps_within("solve.tolerance", text, loaded.flow, measuring, solver, job.seed)[
        0
    ]


def _trace(solving: Solve, fitting: Trace) -> Trace | None:
    known = {"auto": fitting, "none": None, "exact": exact()}
    if solving.divergence in known:
        return known[solving.divergence]
    make = {"hutchinson": hutchinson, "orthogonal": orthogonal}[solving.divergence]
    return make(solving.probes)


def arrays_digest(tree: Any) -> str:
    """SHA-256 of the arrays of a pytree: of a model's weights, say."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = np.asarray(leaf)
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
