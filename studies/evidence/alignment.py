"""Does score alignment hold, and is that more than an effect of dimension?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import plotting
from densityguide.checks import present
from densityguide.density.trace import exact
from densityguide.flow import worlds
from densityguide.flow.flow import Flow
from densityguide.flow.local import evaluate
from densityguide.steer import sample as sampling
from densityguide.steer.alignment import score_alignment
from densityguide.verify import alignment_report as reports
from studies.evidence import statistics, subjects, tables
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.subjects import Subject
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings", "gaussian_cosines"]

METHOD = """
Score alignment (Karczewski et al., ICML 2025, Eq. 11) at latents of the prior: the change of log p
of the decoded sample as the latent moves along the prior's score, that is, as it shrinks. *With the
score* its sign is that of the network's score at the sample times the pushed direction; *without*,
it is that of the change of the flow's own log p, with an exact trace in two dimensions and a few
cycled probes for pictures. Beside the prior, alignment is measured from later noise levels on: from
a state of the probability flow, along the network's score there.

What would pass anyway? *Random directions*: normal directions in place of the prior's score, at the
same latents. *Matched Gaussian*: normal data with the mean and covariance of the training set, for
which alignment always holds, in closed form; its cosines say what a linear model expects. *Two
modes*: a world of the same dimension with narrow modes at -2 and 2 along one axis, for which
alignment fails half the time in one dimension. Rates have Wilson intervals.
"""
FORMS = {"score": "with the score", "trace": "without the score"}
RATE = 0.9  # of latents that must be aligned


@dataclass(frozen=True)
class Settings:
    """``models`` counts latents; the costly form without the score and later levels take a
    ``share`` of them. ``levels`` are log-SNRs to start from beside the prior's, ``probes`` those of
    the form without the score."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64
    levels: tuple[float, ...] = (-4.0, 0.0, 4.0)
    share: float = 0.25
    probes: int = 4


def gaussian_cosines(
    variances: np.ndarray, mean: np.ndarray, latents: np.ndarray, noise: tuple[float, float]
) -> np.ndarray:
    """Cosines of alignment [n] of normal data, in closed form in its principal axes.

    With C = alpha^2 variances + sigma^2 at both ends, ``x_0 - alpha_0 mean = (C_0 / C_T)^(1/2)
    (x_T - alpha_T mean)``; the direction is that of the prior, -x_T. The variance preserving path
    from log-SNR noise[0] to noise[1] is taken: alignment's cosine does not depend on the path.
    """
    alpha, sigma = (np.sqrt(1.0 / (1.0 + np.exp(-s * np.asarray(noise)))) for s in (1, -1))
    first, last = (alpha[end] ** 2 * variances + sigma[end] ** 2 for end in (0, 1))
    whitened = (latents - alpha[0] * mean) / np.sqrt(first)
    score = -whitened / np.sqrt(last)
    pushed = -np.sqrt(last / first) * latents
    dots = (score * pushed).sum(1)
    return dots / (np.linalg.norm(score, axis=1) * np.linalg.norm(pushed, axis=1))


def measure(settings: Settings, model: str) -> Table:
    """A row for each kind of alignment, level and latent."""
    subject, count = subjects.load(model), settings.models[model]
    few = max(8, round(settings.share * count))
    keys = jax.random.split(jax.random.key(settings.seed), count)
    steps = settings.steps
    start = float(subject.flow.interval[0])

    def one(flow: Flow, key: Any, direction: str) -> Any:
        key_latent, key_direction, key_trace = jax.random.split(key, 3)
        x = flow.prior.sample(key_latent)
        along = jax.random.normal(key_direction, x.shape) if direction == "random" else None
        trace = exact() if direction != "trace" else subject.estimate(settings.probes)
        out = score_alignment(
            flow,
            x,
            direction=along,
            use_score=direction != "trace",
            key=key_trace,
            divergence=trace,
            steps=steps,
        )
        return out.value, out.cosine

    def later(flow: Flow, key: Any, level: Any) -> Any:
        first = flow.interval[0]
        x = sampling.latent(flow, key)
        early = flow.between(first, level)
        state = sampling.sample(early, x, steps=steps // 2, divergence=None).x * early.end_scale()
        rest = flow.between(level, flow.interval[1])
        along = present(evaluate(flow, state, level).score)
        out = score_alignment(rest, state, direction=along, steps=steps)
        return out.value, out.cosine

    rows = []
    for kind, some in (("score", keys), ("trace", keys[:few]), ("random", keys)):
        found = subject.each(lambda flow, key, kind=kind: one(flow, key, kind), some)
        rows.append(_rows(kind, start, *found))
    for level in settings.levels:
        found = subject.each(later, keys[:few], jnp.full(few, level))
        rows.append(_rows("level", level, *found))
    if subject.data_name is not None:
        cosines = gaussian_cosines(*_matched(subject, count, settings.seed))
        rows.append(_rows("gaussian", start, np.sign(cosines), cosines))
    rows.append(_rows("modes", start, *_two_modes(subject, keys, steps)))
    return tables.concatenate(rows)


def _rows(kind: str, level: float, value: np.ndarray, cosine: np.ndarray) -> Table:
    size = len(value)
    words = {"kind": np.full(size, kind), "level": np.full(size, level)}
    return words | {"value": np.asarray(value, float), "cosine": np.asarray(cosine, float)}


def _matched(
    subject: Subject, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]:
    """Variances and mean of the training data in its principal axes, latents there, and ends."""
    states = subject.states(subject.train(20_000), seed).reshape(-1, subject.flow.size)
    variances, axes = np.linalg.eigh(np.cov(states.T.astype(np.float64)))
    latents = np.random.default_rng(seed).normal(size=(count, subject.flow.size))
    first, last = (float(end) for end in subject.flow.interval)
    return np.maximum(variances, 0.0), states.mean(0) @ axes, latents, (first, last)


def _two_modes(subject: Subject, keys: Any, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Alignment in a world of the subject's dimension with two narrow modes."""
    size = subject.flow.size
    means = np.zeros((2, size))
    means[:, 0] = -2.0, 2.0
    # Narrow along all axes, as data on a thin set are.
    world = worlds.mixture([0.5, 0.5], means, np.full((2, size), 0.3))
    value, cosine, _ = jax.jit(
        lambda keys: jax.lax.map(
            lambda key: reports.align_one(world, key, steps=steps), keys, batch_size=64
        )
    )(keys)
    return np.asarray(value), np.asarray(cosine)


def rate(rows: Table) -> Interval:
    """Share of aligned latents; what has no value is not aligned."""
    return statistics.share(rows["value"] > 0)


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Rates by form and level, what would pass anyway, histograms."""
    forms, levels, others = [], [], []
    high, same, beyond, modes = [], [], [], []
    for model, table in found.items():
        subject = subjects.load(model)
        parts = {kind: tables.where(table, kind=kind) for kind in np.unique(table["kind"])}
        score, trace = parts["score"], parts["trace"]
        aligned = rate(score)
        equal = np.sign(score["value"][: len(trace["value"])]) == np.sign(trace["value"])
        agreeing = statistics.share(equal)
        high.append(aligned.low > RATE)
        same.append(agreeing.low > RATE)
        words = [rate(parts[form]).percent for form in FORMS]
        kind = f"{subject.family}, {subject.network}"
        forms.append([model, kind, len(score["value"]), *words, agreeing.percent])
        level = parts["level"]
        levels.append(
            [model, *[rate(tables.where(level, level=at)).percent for at in settings.levels]]
        )
        by_chance, two = rate(parts["random"]), rate(parts["modes"])
        beyond.append(by_chance.high < aligned.low)
        modes.append(two.high < aligned.low)
        medians = [
            float(np.nanmedian(parts[kind]["cosine"])) if kind in parts else np.nan
            for kind in ("score", "gaussian", "modes")
        ]
        others.append(
            [
                *(model, subject.flow.size, aligned.percent, by_chance.percent, two.percent),
                *medians,
            ]
        )
    claims = [
        Claim(
            "Shrinking the latent raises log p for nearly every latent.",
            "; ".join(f"{row[0]} {row[3]}" for row in forms),
            f"the interval of the share with positive alignment lies above {RATE:.0%}",
            verdict(high),
        ),
        Claim(
            "Alignment with the score and without it agree.",
            "equal signs: " + "; ".join(f"{row[0]} {row[5]}" for row in forms),
            f"the interval of the share of equal signs lies above {RATE:.0%}",
            verdict(same),
        ),
        Claim(
            "The rate is not that of any direction.",
            "random directions: " + "; ".join(f"{row[0]} {row[3]}" for row in others),
            "the interval for random directions lies below that of the prior's score",
            verdict(beyond),
        ),
        Claim(
            "The rate is more than an effect of dimension.",
            "two modes in as many dimensions: " + "; ".join(f"{row[0]} {row[4]}" for row in others),
            "the interval of the two-mode world of equal dimension lies below that of the model",
            verdict(modes),
        ),
    ]
    from_levels = [f"from log-SNR {at:g}" for at in settings.levels]
    cosines = {model: tables.where(table, kind="score")["cosine"] for model, table in found.items()}
    sections = [
        Section(
            "From the prior",
            "Latents whose alignment is positive. The form without the score takes "
            f"{settings.share:.0%} of the latents, with {settings.probes} probes.",
            ("model", "kind", "latents", *FORMS.values(), "equal signs"),
            forms,
        ),
        Section(
            "From later noise levels",
            "The same with the score, from a state of the probability flow at that level on.",
            ("model", *from_levels),
            levels,
        ),
        Section(
            "What would pass anyway",
            "Rates, and medians of the cosine between the pushed direction and the score.",
            (
                "model",
                "dimensions",
                "prior's score",
                "random direction",
                "two modes",
                "median cosine",
                "of the matched Gaussian",
                "of the two modes",
            ),
            others,
        ),
        Section("Cosines", "With the score, from the prior.", figure=plotting.alignment(cosines)),
    ]
    return Reading(sections, claims)


QUESTION = Question(
    "Does scaling the latent move log-density one way?", METHOD, Settings, measure, read
)
