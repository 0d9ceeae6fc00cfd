"""Does the dial turn one way, and is it detail that it turns?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from densityguide import plotting
from densityguide.flow.flow import Flow
from densityguide.plotting import spearman
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling
from studies.evidence import measures, statistics, subjects, tables
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings"]

METHOD = """
Each latent is decoded under density guidance, `quantile`, at every q of the settings that lies
within the range that the model's card states; networks of others have none, and take all.
*Measured* log p is that of the finished sample encoded again along the plain probability-flow ODE,
with an exact trace in two dimensions and two cycled probes for pictures; it does not use the score.
Solves have 32 steps unless `finer` in the settings names more, as for digits and the plane.
Whether the dial turns one way is judged latent by latent: measured log p has to rise from every q
to the next.
Detail of the integer pictures is measured as for [natural samples](detail.md); its rank correlation
with q is taken within each latent, so that differences between latents play no part, and averaged
over latents with a bootstrap interval. -1 means that every step towards larger log p takes detail
away.
"""
RISING = 0.8  # a share of latents
FALLING = -0.5  # a rank correlation


@dataclass(frozen=True)
class Settings:
    """``models`` counts latents, each of which is decoded at all of ``q``; ``finer`` are the steps
    of models that take others than ``steps``."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 32
    finer: dict[str, int] = field(default_factory=dict)
    q: tuple[float, ...] = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9)


def measure(settings: Settings, model: str) -> Table:
    """A row for each latent at each q."""
    subject, count = subjects.load(model), settings.models[model]
    steps = settings.finer.get(model, settings.steps)
    options: dict[str, Any] = {"divergence": subject.trace, "steps": steps}
    low, high = reach(subject.flow)

    def turned(flow: Any, key: Any, q: Any) -> Any:
        out = sampling.draw(flow, key, guidance=guidance.quantile(q), **options)
        return out.x, out.log_density, out.total_error, out.tracked

    keys = jax.random.split(jax.random.key(settings.seed), count)
    parts = []
    for q in (q for q in settings.q if low <= q <= high):
        x, log_p, error, tracked = subject.each(turned, keys, np.full(count, q, np.float32))
        row = {
            "latent": np.arange(count, dtype=float),
            "q": np.full(count, float(q)),
            "size": np.full(count, float(subject.flow.size)),
            "log_density": log_p,
            "total_error": error,
            "tracked": tracked,
        }
        if subject.is_image:
            row |= measures.of(subject.pictures(x), subject.levels)
        parts.append(row)
    return tables.concatenate(parts)


def reach(flow: Flow) -> tuple[float, float]:
    """The range of q that comes with the flow, or everything."""
    dial = None if flow.calibration is None else flow.calibration.dial
    if dial is None:
        return 0.0, 1.0
    low, high = np.asarray(dial, float).round(6)
    return float(low), float(high)


def within(table: Table, name: str) -> np.ndarray:
    """A column as [latents, q]."""
    order = np.lexsort((table["q"], table["latent"]))
    return table[name][order].reshape(len(np.unique(table["latent"])), -1)


def rising(table: Table) -> Interval:
    """Share of latents whose measured log p rises in every step."""
    steps = np.diff(within(table, "log_density"), axis=1)
    return statistics.share(np.asarray(steps.min(axis=1) > 0))


def falling(table: Table, name: str) -> Interval:
    """Rank correlation of a measure with q within a latent, mean over latents; a latent whose
    measure is the same everywhere counts as 0."""
    values, q = within(table, name), np.unique(table["q"])
    ranks = np.nan_to_num([spearman(row, q) for row in values])
    return statistics.mean(ranks)


def _gain(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """q, and [q, 3]: mean, 5th and 95th percentile over latents of log p gained, bits/dim."""
    q, log_p = np.unique(table["q"]), within(table, "log_density")
    plain = log_p[:, [int(np.argmin(np.abs(q - 0.5)))]]
    gained = (log_p - plain) / (table["size"][0] * np.log(2.0))
    return q, np.stack([gained.mean(axis=0), *np.percentile(gained, [5.0, 95.0], axis=0)], axis=1)


def _relative(table: Table, name: str) -> list[Interval]:
    """At each q the mean over latents, in that at the q nearest to 0.5."""
    values = within(table, name)
    plain = int(np.argmin(np.abs(np.unique(table["q"]) - 0.5)))
    scale = float(values[:, plain].mean()) or np.nan
    return [statistics.mean(column / scale) for column in values.T]


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Both claims, and curves."""
    shares = {model: rising(table) for model, table in found.items()}
    images = {model: table for model, table in found.items() if "png" in table}
    ranks = {
        model: {name: falling(table, name) for name in measures.MEASURES}
        for model, table in images.items()
    }
    cells = [
        (rank, f"{model}, {measures.MEASURES[name][0]}")
        for model, row in ranks.items()
        for name, rank in row.items()
    ]
    fallen = [rank.high < FALLING for rank, _ in cells]
    weakest = max(cells, key=lambda cell: cell[0].value, default=(Interval(*[np.nan] * 3), "none"))
    claims = [
        Claim(
            "Turning the dial up raises measured log p in every step.",
            "latents for which it does: "
            + "; ".join(f"{model} {one.percent}" for model, one in shares.items()),
            f"the interval of the share of latents lies above {RISING:.0%} for every model",
            verdict([one.low > RISING for one in shares.values()]),
        ),
        Claim(
            "What the dial takes away is detail.",
            f"{sum(fallen)} of {len(fallen)} mean rank correlations of a measure with q have an "
            f"interval below {FALLING:g}; the weakest is {weakest[0].words} ({weakest[1]})",
            f"the interval of every mean (model, measure) lies below {FALLING:g}",
            verdict(fallen),
        ),
    ]
    bits = [[model, *_bits(table)] for model, table in found.items()]
    sections = [
        Section(
            "How far the dial turns",
            "Measured log p from the least to the largest q, mean over latents, and what guidance "
            "itself believed (tracked) less what was measured, root mean square; bits/dim. The "
            "error bar is that of a single measured log p, probes and solver together: its median "
            "over latents at the q where that is largest, as the half-width of a 95 % interval. "
            "*Rising* takes every measured value for what it is; in the last column each rise is "
            "larger than the root sum of squares of the bars at its ends.",
            (
                *("model", "least q", "largest q", "moved (bits/dim)", "tracked - measured"),
                *("error bar (bits/dim)", "rising", "rising beyond the bars"),
            ),
            [[*row, shares[row[0]].percent, _beyond(found[row[0]])] for row in bits],
        ),
        Section(
            "Measured log p along the dial",
            "What a latent gains over its sample at q = 0.5, in bits/dim: the mean, and the range "
            "of nine latents in ten.",
            figure=plotting.intervals(
                {model: {"gain": _gain(table)} for model, table in found.items()},
                xlabel="q",
                ylabel="measured log p, gain (bits/dim)",
                columns=3,
                level=0.0,
            ),
        ),
        Section(
            "Detail against q within each latent",
            "Mean rank correlation: -1 where every step up the dial takes detail away.",
            ("model", *(words for words, _ in measures.MEASURES.values())),
            [[model, *(rank.words for rank in row.values())] for model, row in ranks.items()],
        ),
    ]
    if images:
        panels: dict[str, dict[str, Any]] = {
            model: {
                words: (np.unique(table["q"]), _relative(table, name))
                for name, (words, _) in measures.MEASURES.items()
            }
            for model, table in images.items()
        }
        figure = plotting.intervals(
            panels, xlabel="q", ylabel="relative to q = 0.5", columns=3, level=1.0
        )
        sections.append(Section("Measures along the dial", "", figure=figure))
    return Reading(sections, claims)


def _bits(table: Table) -> list[Any]:
    scale = table["size"][0] * np.log(2.0)
    log_p, gap = within(table, "log_density"), table["tracked"] - table["log_density"]
    moved = statistics.mean((log_p[:, -1] - log_p[:, 0]) / scale)
    off = np.sqrt(np.mean((gap / scale) ** 2))
    bar = np.median(within(table, "total_error"), axis=0).max() / scale
    ends = (float(table["q"].min()), float(table["q"].max()))
    return [*ends, moved.words, float(off), float(bar)]


def _beyond(table: Table) -> str:
    """Latents whose every rise exceeds the root sum of squares of the bars at its ends."""
    rise = np.diff(within(table, "log_density"), axis=1)
    bars = within(table, "total_error")
    sure = (rise > np.hypot(bars[:, :-1], bars[:, 1:])).all(axis=1)
    return f"{sure.sum()} of {len(sure)}"


QUESTION = Question(
    "Does the dial turn one way, and is it detail that it turns?", METHOD, Settings, measure, read
)
