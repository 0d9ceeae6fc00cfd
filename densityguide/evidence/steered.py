"""Samples that were steered to a request, and their log p encoded again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from densityguide import guidance, sampling
from densityguide.evidence import subjects, tables
from densityguide.evidence.tables import Table
from densityguide.likelihood import log_density
from densityguide.matching import match_log_density

__all__ = ["PASSES", "PERCENTILES", "Settings", "measure"]

PERCENTILES = (5.0, 50.0, 95.0)
PASSES = 2  # closing corrections of polish
SCAN = 9  # scales that match looks at for brackets


@dataclass(frozen=True)
class Settings:
    """``models`` counts samples for each request; ``natural`` unguided ones for the percentiles,
    ``polished`` those for each request of polish, ``matched`` those of match in all; ``probes``
    of a model's traces, for those that take others than two."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64
    natural: int = 24
    polished: int = 3
    matched: int = 6
    quantiles: tuple[float, ...] = (0.3, 0.7)
    probes: dict[str, int] = field(default_factory=dict)


def measure(settings: Settings, model: str) -> Table:
    """A row for each sample."""
    subject, count = subjects.load(model), settings.models[model]
    trace = subject.estimate(settings.probes.get(model, subjects.PROBES))
    options: dict[str, Any] = {"divergence": trace, "steps": settings.steps}

    def encode(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, key=key, **options)

    def plain(flow: Any, key: Any) -> Any:
        return sampling.draw(flow, key, **options)

    def dialled(flow: Any, key: Any, q: Any) -> Any:
        return sampling.draw(flow, key, guidance=guidance.quantile(q), **options)

    def aimed(flow: Any, key: Any, goal: Any) -> Any:
        return sampling.draw(flow, key, guidance=guidance.target(goal), **options)

    def closed(flow: Any, key: Any, goal: Any) -> Any:
        aim = guidance.target(goal)
        return sampling.draw(flow, key, guidance=aim, polish=PASSES, **options)

    finer = {**options, "steps": 2 * settings.steps}

    def aimed_finely(flow: Any, key: Any, goal: Any) -> Any:
        return sampling.draw(flow, key, guidance=guidance.target(goal), **finer)

    def encode_finely(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, key=key, **finer)

    def matched(flow: Any, key: Any, goal: Any) -> Any:
        key_latent, key_solve = jax.random.split(key)  # as draw does
        latent = sampling.latent(flow, key_latent)
        return match_log_density(flow, latent, goal, key=key_solve, scan=SCAN, **options)

    most = max(settings.natural, count, settings.polished, settings.matched)
    keys = jax.random.split(jax.random.key(settings.seed), most)
    checks = jax.random.split(jax.random.key(settings.seed + 1), most)
    parts, natural = [], np.full(most, np.nan)

    def add(method: str, requests: Any, goals: Any, out: Any, encode: Any = encode) -> None:
        n = len(out.x)
        again = subject.each(encode, out.x, checks[:n])
        parts.append(
            {
                "method": np.full(n, method),
                "request": np.broadcast_to(np.asarray(requests, float), (n,)),
                "size": np.full(n, float(subject.flow.size)),
                "requested": np.asarray(goals, float),
                "tracked": out.log_density,
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
        add("quantile", q, out.log_density, out)
    for method, verb, size in (("target", aimed, count), ("polish", closed, settings.polished)):
        for percentile, goal in zip(PERCENTILES, goals, strict=True):
            wanted = np.full(size, goal, np.float32)
            add(method, percentile, wanted, subject.each(verb, keys[:size], wanted))
    wanted = np.full(count, goals[1], np.float32)
    out = subject.each(aimed_finely, keys[:count], wanted)
    add("finer", PERCENTILES[1], wanted, out, encode_finely)
    turns = np.arange(settings.matched) % len(PERCENTILES)
    wanted = goals[turns].astype(np.float32)
    # Not on all devices: the root finder of match does not run inside pmap.
    found = jax.jit(jax.vmap(matched, in_axes=(None, 0, 0)))
    out = jax.device_get(found(subject.flow, keys[: settings.matched], wanted))
    add("match", np.asarray(PERCENTILES)[turns], wanted, out)
    return tables.concatenate(parts)
