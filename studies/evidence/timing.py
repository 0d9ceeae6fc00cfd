"""How many steps every method needs, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.density.elbo import elbo
from densityguide.density.log_density import log_density
from densityguide.density.sde import sample_sde
from densityguide.density.trace import exact
from densityguide.steer import noise
from densityguide.steer import rules as guidance
from densityguide.steer.alignment import score_alignment
from densityguide.steer.high_density import high_density
from densityguide.steer.land import land, match_log_density
from densityguide.steer.rescale import rescale
from densityguide.steer.sample import latent, sample
from studies.evidence import deviations, subjects, tables
from studies.evidence.tables import Table

__all__ = ["FOLLOWS", "SEARCHED", "TOLERANCE", "Settings", "enough", "measure"]

Q, SWITCH, LEVEL = 0.6, 0.7, 0.3
TOLERANCE, START, FINER, ENCODED = 0.01, 8, 4, 128
# What is searched, and by which result its error is judged.
SEARCHED = {"plain": "x", "plain, log p": "log p", "quantile": "x", "target": "encoded"}
# Method -> the searched methods whose number of steps it takes, the largest if there are several.
FOLLOWS: dict[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "prior guidance": ("plain",),
    "quantile": ("quantile",),
    "quantile, noise": ("quantile",),
    "high density": ("quantile",),
    "plain, log p": ("plain, log p",),
    "plain, exact log p": ("plain, log p",),
    "quantile, log p": ("quantile", "plain, log p"),
    "target": ("target",),
    "land": ("target", "plain, log p"),
    "match": ("plain, log p",),
    "log_density": ("plain, log p",),
    "forward bound": (),
    "reverse SDE": (),
    "alignment": ("plain",),
    "alignment without score": ("plain", "plain, log p"),
}
EXACT = 64  # dimensions up to which an exact trace is timed


@dataclass(frozen=True)
class Settings:
    """``models`` counts samples of the search; ``batch`` is timed, ``rounds`` times over."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    most: int = 64
    sde_steps: int = 256
    levels: int = 64
    replicates: int = 4
    batch: int = 2
    rounds: int = 5


Run = Callable[..., Any]


def _programs(subject: subjects.Subject, steps: int, settings: Settings) -> dict[str, Run]:
    """Name -> ``(flow, latent, key, datum, goal) -> result``."""
    own: dict[str, Any] = {"divergence": subject.trace, "steps": steps}
    free: dict[str, Any] = {"divergence": None, "steps": steps}
    full: dict[str, Any] = {"divergence": exact(), "steps": steps}
    start, stop = (float(end) for end in subject.flow.interval)
    switch = start + SWITCH * (stop - start)
    dial = guidance.quantile(Q)
    return {
        "plain": lambda f, z, k, x, goal: sample(f, z, **free),
        "prior guidance": lambda f, z, k, x, goal: sample(f, rescale(f, z, Q), **free),
        "quantile": lambda f, z, k, x, goal: sample(f, z, guidance=dial, **free),
        "quantile, noise": lambda f, z, k, x, goal: sample(
            f, z, guidance=dial, noise=noise.constant(LEVEL), key=k, **free
        ),
        "high density": lambda f, z, k, x, goal: high_density(f, z, switch=switch, **free),
        "plain, log p": lambda f, z, k, x, goal: sample(f, z, key=k, **own),
        "plain, exact log p": lambda f, z, k, x, goal: sample(f, z, key=k, **full),
        "quantile, log p": lambda f, z, k, x, goal: sample(f, z, guidance=dial, key=k, **own),
        "target": lambda f, z, k, x, goal: sample(
            f, z, guidance=guidance.target(goal), key=k, **own
        ),
        "land": lambda f, z, k, x, goal: land(f, z, goal, key=k, **own),
        "match": lambda f, z, k, x, goal: match_log_density(f, z, goal, key=k, **own),
        "log_density": lambda f, z, k, x, goal: log_density(f, x, key=k, **own),
        "forward bound": lambda f, z, k, x, goal: elbo(
            f, x, k, levels=settings.levels, replicates=settings.replicates
        ),
        "reverse SDE": lambda f, z, k, x, goal: sample_sde(
            f, z, k, steps=settings.sde_steps, measure=False
        ),
        "alignment": lambda f, z, k, x, goal: score_alignment(f, z, steps=steps),
        "alignment without score": lambda f, z, k, x, goal: score_alignment(
            f, z, use_score=False, key=k, **own
        ),
    }


def _compiled(run: Run) -> Run:
    # One program on one device: what is timed is a batch, not how it is spread.
    return jax.jit(jax.vmap(run, in_axes=(None, 0, 0, 0, None)))


def enough(errors: dict[int, float], tolerance: float) -> float:
    """The least number of steps whose error is within the tolerance; nan if there is none."""
    fine = [steps for steps, error in errors.items() if error <= tolerance]
    return float(min(fine)) if fine else np.nan


def measure(settings: Settings, model: str) -> Table:
    """A row for each number of steps tried, and for each timing."""
    subject, count = subjects.load(model), settings.models[model]
    flow, size = subject.flow, float(subject.flow.size)
    keys = jax.random.split(jax.random.key(settings.seed), 2 * count).reshape(2, count)
    latents = jax.vmap(latent, in_axes=(None, 0))(flow, keys[0])
    data = jnp.asarray(subject.states(subject.heldout(count), settings.seed + 1))
    rows: list[dict[str, Any]] = []

    def add(kind: str, method: str, steps: float, **values: float) -> None:
        empty = dict.fromkeys(("error", "evaluations", "tangents", "round", "seconds"), np.nan)
        rows.append({"kind": kind, "method": method, "steps": steps, **empty, **values})

    def results(method: str, steps: int, goal: Any) -> Any:
        run = _compiled(_programs(subject, steps, settings)[method])
        return jax.device_get(run(flow, latents, keys[1], data, goal))

    encode = _compiled(_programs(subject, ENCODED, settings)["log_density"])

    def judged(method: str, out: Any) -> tuple[np.ndarray, np.ndarray]:
        """What is compared, and its noise, as [count, ...]."""
        if SEARCHED[method] == "x":
            return out.x, np.zeros(count)
        if SEARCHED[method] == "encoded":
            again = jax.device_get(encode(flow, latents, keys[1], out.x, jnp.zeros(())))
            # The same probes for both samples, which are close: no noise is taken off.
            return again.value, np.zeros(count)
        return out.log_density, out.standard_error

    def searched(method: str, goal: Any) -> tuple[float, Any]:
        known: dict[int, Any] = {}
        errors: dict[int, float] = {}
        steps = START
        while steps <= settings.most:
            for n in (steps, FINER * steps):
                if n not in known:
                    out = results(method, n, goal)
                    known[n] = (*judged(method, out), out)
            (a, noise_a, out), (b, noise_b, _) = known[steps], known[FINER * steps]
            gap, noise_of = a - b, np.hypot(noise_a, noise_b)
            if SEARCHED[method] != "x":
                gap, noise_of = (deviations.bits(part, size) for part in (gap, noise_of))
            finite = bool(np.isfinite(gap).all())
            error = deviations.root_mean_square(gap, noise_of) if finite else np.inf
            errors[steps] = error
            spent = {"evaluations": float(out.evaluations[0]), "tangents": float(out.tangents[0])}
            add("search", method, steps, error=error, **spent)
            if error <= TOLERANCE:
                break
            steps *= 2
        finest = known[max(known)][2]
        return enough(errors, TOLERANCE), finest

    zero = jnp.zeros(())
    needed = {name: searched(name, zero) for name in ("plain", "plain, log p", "quantile")}
    goal = jnp.asarray(np.median(needed["plain, log p"][1].log_density))
    needed["target"] = searched("target", goal)
    steps_of = {name: steps for name, (steps, _) in needed.items()}
    _time(subject, settings, steps_of, (latents, keys[1], data, goal), add)
    return tables.from_rows(rows)


def _finished(run: Run, *given: Any) -> Any:
    return jax.block_until_ready(run(*given))


def _time(
    subject: subjects.Subject,
    settings: Settings,
    steps_of: dict[str, float],
    given: tuple[Any, ...],
    add: Callable[..., None],
) -> None:
    """Time every method at the steps it needs (the most that were tried, if none were enough)."""
    *samples, goal = given
    calls: dict[str, Callable[[], Any]] = {}
    for method, follows in FOLLOWS.items():
        if method == "plain, exact log p" and subject.flow.size > EXACT:
            continue
        # The largest, and nan if one of them was not found.
        steps = float(np.max([steps_of[name] for name in follows] or [settings.sde_steps]))
        shown = float(settings.most) if np.isnan(steps) else steps
        size = 1 if method in ("match", "land") else settings.batch
        run = _compiled(_programs(subject, int(shown), settings)[method])
        few = [part[:size] for part in samples]
        calls[method] = partial(_finished, run, subject.flow, *few, goal)
        out = calls[method]()
        evaluations = float(np.mean(out.evaluations))
        tangents = float(np.mean(getattr(out, "tangents", 0.0)))
        add("cost", method, steps, evaluations=evaluations, tangents=tangents)
    for number in range(settings.rounds):
        for method, call in calls.items():
            started = time.perf_counter()
            call()
            size = 1 if method in ("match", "land") else settings.batch
            seconds = (time.perf_counter() - started) / size
            add("time", method, np.nan, round=float(number), seconds=seconds)
