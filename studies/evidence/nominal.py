"""What is left of nominal q?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import plotting
from densityguide import solve as solving
from densityguide.checks import present
from densityguide.flow.flow import Flow
from densityguide.steer import profile as natural
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling
from densityguide.steer.calibrate import fluctuation
from studies.evidence import statistics, subjects, tables
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings", "percentile"]

METHOD = """
The quantile rule takes h = sigma^2 (laplacian + |score|^2) / sqrt(2 D) for a standard normal over
natural samples (Karczewski et al., ICML 2025), and asks that log p rise at each moment as fast as
it does at the q-quantile of h. *Level by level*: the root mean square of h over states of the
probability flow, from products of two independent trace estimates for pictures (one probe each),
from the exact trace in two dimensions. With an exact score the mean of h is 0 and its root mean
square at most 1, so that a mean or more than 1 are the network's error; where it is 0.3, what is
called q = 0.8 is 3 standard deviations up. *At the end*: where the log p of guided samples lies
among the model's own plain samples, as a percentile, for the plain rule and for the calibrated one,
which asks for that root mean square times as much. Both ask at every moment for a rate that natural
samples have only now and then; so neither q is meant to be the percentile at the end, and the table
says by how much it is not.
"""
RULES = {"quantile": guidance.quantile, "calibrated": guidance.calibrated}
NEAR = 0.9  # a root mean square of h from which it counts as the nominal 1
FAR = 1.1  # and up to which


@dataclass(frozen=True)
class Settings:
    """``models`` counts plain samples, and guided ones of each rule at each of ``values``;
    ``knots`` levels are shown of the ``steps`` + 1."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64
    knots: int = 9
    values: tuple[float, ...] = (0.4, 0.6)


def percentile(value: np.ndarray, among: np.ndarray) -> float:
    """The median place of values among others, from 0 to 1."""
    return float(np.median(np.searchsorted(np.sort(among), value) / len(among)))


def measure(settings: Settings, model: str) -> Table:
    """A row for each state of each plain sample, and for each guided sample."""
    subject, count = subjects.load(model), settings.models[model]
    trace = subject.trace
    steps = settings.steps
    method, numbers = solving.plan(subject.flow, steps=steps)
    shown = np.linspace(0, steps, settings.knots).round().astype(int)

    def plain(flow: Flow, key: Any) -> Any:
        key_latent, key_trace, key_h = jax.random.split(key, 3)
        x = sampling.latent(flow, key_latent)
        states, log_density, _ = natural.trajectory(method, trace, flow, x, key_trace, numbers)
        keys = jax.random.split(key_h, len(shown))
        at = (states[shown], numbers.knots[shown], keys)
        h = jax.vmap(lambda *one: fluctuation(flow, trace, *one))(*at)
        offset = flow.size * present(flow.path).log_alpha(numbers.knots[-1])
        return h[:, 0], h[:, -1], log_density[-1] + offset

    def guided(rule: str, flow: Flow, key: Any, q: Any) -> Any:
        out = sampling.draw(
            flow, key, guidance=RULES[rule](q), divergence=trace, steps=steps, measure=False
        )
        return out.tracked, out.unmet

    keys = jax.random.split(jax.random.key(settings.seed), count)
    first, second, log_density = subject.each(plain, keys)
    rows = [_rows("plain", np.nan, log_density, np.zeros(count))]
    for place, index in enumerate(shown):
        level = float(numbers.knots[index])
        rows.append(_rows("h", level, first[:, place], second[:, place]))
    for rule in RULES:
        ruled = partial(guided, rule)
        for q in settings.values:
            found = subject.each(ruled, keys, jnp.full(count, q))
            rows.append(_rows(rule, q, *found))
    return tables.concatenate(rows)


def _rows(kind: str, at: float, first: np.ndarray, second: np.ndarray) -> Table:
    size = len(first)
    words = {"kind": np.full(size, kind), "at": np.full(size, at)}
    return words | {"first": np.asarray(first, float), "second": np.asarray(second, float)}


def _root(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(max(np.mean(first * second), 0.0)))


def _centre(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean(first + second) / 2.0)


def _deviation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(max(np.cov(first, second)[0, 1], 0.0)))


def sizes(rows: Table) -> tuple[np.ndarray, list[Interval]]:
    """Levels, and the root mean square of h at each with its interval."""
    levels = np.unique(rows["at"])
    parts = [tables.where(rows, at=level) for level in levels]
    return levels, [statistics.bootstrap(_root, p["first"], p["second"]) for p in parts]


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Size of h by level; percentiles of guided samples."""
    curves, size_rows, end_rows = {}, [], []
    nominal, below, closer = [], [], []
    nearest: list[str] = []
    extremes: list[str] = []
    for model, table in found.items():
        h = tables.where(table, kind="h")
        levels, size = sizes(h)
        curves[model] = {"root mean square of h": (levels, np.asarray(size))}
        last = tables.where(h, at=levels[-1])
        parts = [
            statistics.bootstrap(f, last["first"], last["second"]) for f in (_centre, _deviation)
        ]
        thirds = (size[0], size[len(size) // 2], size[-1], *parts)
        size_rows.append([model, *[ends.words for ends in thirds]])
        nominal.append(all(ends.high > NEAR and ends.low < FAR for ends in size))
        below.append(size[-1].high < NEAR)
        plain = tables.where(table, kind="plain")["first"]
        off: dict[str, list[float]] = {rule: [] for rule in RULES}
        for rule in RULES:
            for q in settings.values:
                part = tables.where(table, kind=rule, at=q)
                gain = statistics.mean(part["first"] - plain)  # the same latents
                place = percentile(part["first"][np.isfinite(part["first"])], plain)
                off[rule].append(abs(place - q))
                unmet = float(np.nanmean(part["second"]))
                spans = gain.value / float(np.std(plain, ddof=1))
                end_rows.append([model, rule, q, f"{place:.0%}", gain.words, spans, unmet])
        closer.append(sum(off["calibrated"]) < sum(off["quantile"]))
        nearest.append(f"{model} {max(off['calibrated']):.2f}")
        extremes.append(f"{model} {_extent(size)}")
    claims = [
        Claim(
            "h is a standard normal at every noise level, so q is a quantile of the rate.",
            "its root mean square, least to largest of the levels: " + "; ".join(extremes),
            f"every interval of it, at every level of a model, reaches into {NEAR} to {FAR}",
            verdict(nominal),
        ),
        Claim(
            "At the data end the quantile rule asks for more than its q says.",
            "root mean square of h there: " + "; ".join(f"{row[0]} {row[3]}" for row in size_rows),
            f"its interval at the last level lies below {NEAR}",
            verdict(below),
        ),
        Claim(
            "Calibration brings the percentile of log p at the end nearer to q.",
            "largest distance of the calibrated rule: " + "; ".join(nearest),
            "the summed distance between percentile and q is smaller than the plain rule's",
            verdict(closer),
        ),
    ]
    sections = [
        Section(
            "Size of h by log-SNR",
            "Root mean squares, of which 1 is nominal; of the last one its two parts as well, the "
            "mean and the standard deviation, of which 0 and 1 are. On the line in the figure, at "
            "1, q is a quantile; above it q asks for less than that, below for more.",
            ("model", "at the noise end", "half-way", "at the data end", "mean there", "sd there"),
            size_rows,
            plotting.intervals(
                curves,
                xlabel="log-SNR, noise to data",
                ylabel="root mean square of h",
                level=1.0,
                columns=3,
            ),
        ),
        Section(
            "Where guided samples end",
            "The median percentile among plain samples, the mean gain over the plain sample of the "
            "same latent in nats and in standard deviations of plain samples, and what was unmet.",
            ("model", "rule", "q", "percentile", "gain (nats)", "gain (sd)", "unmet (nats)"),
            end_rows,
        ),
    ]
    return Reading(sections, claims)


def _extent(size: list[Interval]) -> str:
    values = [ends.value for ends in size]
    return f"{min(values):.2f} to {max(values):.2f}"


QUESTION = Question("What is left of nominal q?", METHOD, Settings, measure, read)
