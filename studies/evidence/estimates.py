"""Every estimate of log-density of the same pictures."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from densityguide.density.elbo import elbo
from densityguide.density.log_density import log_density
from densityguide.density.sde import sample_sde
from densityguide.density.trace import exact, orthogonal
from densityguide.steer import sample as sampling
from studies.evidence import subjects, tables
from studies.evidence.tables import Table

__all__ = ["COARSER", "NAMES", "SETS", "YARDSTICK", "Settings", "measure"]

SETS = {"data": "held-out data", "samples": "samples", "coarse": "samples, a quarter of the steps"}
NAMES = {"probes": "ODE, 2 probes", "bound": "forward bound", "reverse": "reverse SDE"}
YARDSTICK = "reference"
COARSER = 4
FULL = 64  # dimensions up to which the yardstick's traces are exact


@dataclass(frozen=True)
class Settings:
    """``models`` counts data, and samples; ``repeats`` the keys of estimates that have one."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64
    sde_steps: int = 256
    levels: int = 64
    replicates: int = 4
    reference: int = 16
    repeats: int = 2


def measure(settings: Settings, model: str) -> Table:
    """A row for each picture, estimate and repeat."""
    subject, count = subjects.load(model), settings.models[model]
    small = subject.flow.size <= FULL
    many = exact() if small else orthogonal(settings.reference)

    def reference(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, key=key, divergence=many, steps=settings.steps)

    def probes(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, key=key, divergence=orthogonal(2), steps=settings.steps)

    def bound(flow: Any, x: Any, key: Any) -> Any:
        return elbo(flow, x, key, levels=settings.levels, replicates=settings.replicates)

    def drawn(flow: Any, key: Any, *, steps: int = settings.sde_steps) -> Any:
        key_latent, key_solve = jax.random.split(key)
        latent = sampling.latent(flow, key_latent)
        return sample_sde(flow, latent, key_solve, steps=steps, measure=False)

    streams = iter(jax.random.split(jax.random.key(settings.seed), 3 + 9 * settings.repeats))
    parts: list[Table] = []

    def add(source: str, estimate: str, repeat: int, names: np.ndarray, out: Any) -> None:
        n = len(names)
        along = estimate == "reverse"  # what the SDE brings along, with no probe in it
        parts.append(
            {
                "source": np.full(n, source),
                "picture": names,
                "estimate": np.full(n, estimate),
                "repeat": np.full(n, float(repeat)),
                "size": np.full(n, float(subject.flow.size)),
                "value": out.tracked if along else out.value,
                "standard_error": np.zeros(n) if along else out.standard_error,
                "evaluations": np.asarray(out.evaluations, float),
                "tangents": np.asarray(getattr(out, "tangents", np.zeros(n)), float),
            }
        )

    def compare(source: str, names: np.ndarray, x: Any, *, briefly: bool = False) -> None:
        keys = jax.random.split(next(streams), len(names))
        # The coarse set shows a bias far above the noise of two probes.
        yardstick = probes if briefly else reference
        add(source, YARDSTICK, 0, names, subject.each(yardstick, x, keys))
        for repeat in range(0 if briefly else settings.repeats):
            for estimate, verb in (("probes", probes), ("bound", bound)):
                keys = jax.random.split(next(streams), len(names))
                add(source, estimate, repeat, names, subject.each(verb, x, keys))

    heldout = subject.heldout(count)
    sums = [f"d{zlib.crc32(np.ascontiguousarray(datum).tobytes()):08x}" for datum in heldout]
    compare("data", np.asarray(sums), subject.states(heldout, settings.seed + 1))
    names = np.asarray([f"s{index}" for index in range(count)])
    coarse = partial(drawn, steps=settings.sde_steps // COARSER)
    for source, verb in (("samples", drawn), ("coarse", coarse)):
        out = subject.each(verb, jax.random.split(next(streams), count))
        add(source, "reverse", 0, names, out)
        compare(source, names, out.x, briefly=source == "coarse")
    return tables.concatenate(parts)
