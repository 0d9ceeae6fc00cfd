"""Samples that were steered to a request, and their log p encoded again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from densityguide.density.log_density import log_density
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling
from densityguide.steer.land import land, match_log_density
from studies.evidence import subjects, tables
from studies.evidence.tables import Table

__all__ = ["PERCENTILES", "Settings", "measure"]

PERCENTILES = (5.0, 50.0, 95.0)
SCAN = 9  # scales that match looks at for brackets


@dataclass(frozen=True)
class Settings:
    """``models`` counts samples for each request; ``natural`` unguided ones for the percentiles,
    ``landed`` those for each request of landing, or ``landings`` of a model, ``matched`` those of
    match in all; ``probes`` of a model's traces, for those that take others than two."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64
    natural: int = 24
    landed: int = 3
    landings: dict[str, int] = field(default_factory=dict)
    matched: int = 6
    quantiles: tuple[float, ...] = (0.3, 0.7)
    probes: dict[str, int] = field(default_factory=dict)


def measure(settings: Settings, model: str) -> Table:
    """A row for each sample."""
    subject, count = subjects.load(model), settings.models[model]
    trace = subject.estimate(settings.probes.get(model, subjects.PROBES))
    options: dict[str, Any] = {"divergence": trace, "steps": settings.steps}

    unmeasured: dict[str, Any] = {**options, "measure": False}  # encoded below, by other probes

    def encode(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, key=key, **options)

    def plain(flow: Any, key: Any) -> Any:
        return sampling.draw(flow, key, **options)

    def dialled(flow: Any, key: Any, q: Any) -> Any:
        return sampling.draw(flow, key, guidance=guidance.quantile(q), **unmeasured)

    def aimed(flow: Any, key: Any, goal: Any) -> Any:
        return sampling.draw(flow, key, guidance=guidance.target(goal), **unmeasured)

    def landed(flow: Any, key: Any, goal: Any) -> Any:
        key_latent, key_solve = jax.random.split(key)  # as draw does
        return land(flow, sampling.latent(flow, key_latent), goal, key=key_solve, **options)

    finer = {**options, "steps": 2 * settings.steps}

    def aimed_finely(flow: Any, key: Any, goal: Any) -> Any:
        aim = guidance.target(goal)
        return sampling.draw(flow, key, guidance=aim, measure=False, **finer)

    def encode_finely(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, key=key, **finer)

    def matched(flow: Any, key: Any, goal: Any) -> Any:
        key_latent, key_solve = jax.random.split(key)  # as draw does
        latent = sampling.latent(flow, key_latent)
        return match_log_density(flow, latent, goal, key=key_solve, scan=SCAN, **options)

    some = settings.landings.get(model, settings.landed)
    most = max(settings.natural, count, some, settings.matched)
    keys = jax.random.split(jax.random.key(settings.seed), most)
    checks = jax.random.split(jax.random.key(settings.seed + 1), most)
    parts, natural = [], np.full(most, np.nan)

    def add(method: str, requests: Any, goals: Any, out: Any, encode: Any = encode) -> None:
        n = len(out.x)
        again = subject.each(encode, out.x, checks[:n])
        tracked = getattr(out, "tracked", None)  # none where only a latent was sought
        parts.append(
            {
                "method": np.full(n, method),
                "request": np.broadcast_to(np.asarray(requests, float), (n,)),
                "size": np.full(n, float(subject.flow.size)),
                "requested": np.asarray(goals, float),
                "tracked": out.log_density if tracked is None else tracked,
                "encoded": again.value,
                "noise": again.standard_error,
                "natural": natural[:n],
                "unmet": getattr(out, "unmet", np.zeros(n)),
                "status": out.status | again.status,
            }
        )

    out = subject.each(plain, keys)
    natural[:] = out.log_density
    add("plain", 0.5, out.log_density, out)
    goals = np.nanpercentile(natural, PERCENTILES)
    for q in settings.quantiles:
        out = subject.each(dialled, keys[:count], np.full(count, q, np.float32))
        add("quantile", q, out.tracked, out)
    for method, verb, size in (("target", aimed, count), ("land", landed, some)):
        for percentile, goal in zip(PERCENTILES, goals, strict=True):
            wanted = np.full(size, goal, np.float32)
            add(method, percentile, wanted, subject.each(verb, keys[:size], wanted))
    wanted = np.full(count, goals[1], np.float32)
    out = subject.each(aimed_finely, keys[:count], wanted)
    add("finer", PERCENTILES[1], wanted, out, encode_finely)
    turns = np.arange(settings.matched) % len(PERCENTILES)
    wanted = goals[turns].astype(np.float32)
    out = subject.each(matched, keys[: settings.matched], wanted)
    add("match", np.asarray(PERCENTILES)[turns], wanted, out)
    return tables.concatenate(parts)
