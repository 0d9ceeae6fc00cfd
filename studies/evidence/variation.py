"""What does noise vary, and does log p stay where it is?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from densityguide import plotting
from densityguide.density.log_density import log_density
from densityguide.density.sde import sample_sde
from densityguide.steer import noise
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling
from studies.evidence import statistics, subjects, tables
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings", "bands"]

METHOD = """
From each of a few latents several samples are drawn that differ only in their noise: by stochastic
density guidance with noise early, late or throughout (Stratonovich form, Heun's method), whose
target is the log p of the plain sample of the same latent, and by the reverse SDE (Euler-Maruyama),
which has no target. Early and late meet at one log-SNR for all models; the noise level is relative
to the reverse SDE's. Variance between samples of one latent is split at a radial spatial frequency
by the orthonormal Fourier transform, per pixel value, and given relative to that of plain samples
of independent latents in the same frequencies. Points in the plane have no frequencies.

Log p is that of the sample encoded again along the plain probability-flow ODE. How well the target
is kept is its root mean square distance to log p, both as the sampler tracked it and encoded again;
the latter contains the error of the learned score as well. The published Ito form (Euler's method)
takes twice as many steps as ours, which costs as many evaluations, with one tangent more in each to
track log p. Traces that report log p are exact in two dimensions, and of two cycled probes beyond;
those that steer are exact in up to 256. Intervals are bootstrapped over latents. Not measured:
whether people see a change of structure or of detail.
"""
INDEPENDENT = "independent"
METHODS = {
    "none": "target, no noise",
    "early": "early noise",
    "late": "late noise",
    "full": "noise throughout",
    "published": "published Ito form, throughout",
    "reverse": "reverse SDE",
    INDEPENDENT: "independent plain samples",
}
FOREVER = 1e3  # beyond every log-SNR


@dataclass(frozen=True)
class Settings:
    """``models`` counts latents; each is decoded ``keys`` times."""

    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    steps: int = 64  # of one evaluation; half as many of two
    keys: int = 3
    independent: int = 3  # plain samples for each latent
    split: float = -3.5  # log-SNR at which early ends and late begins
    level: float = 0.5
    frequency: float = 0.125  # cycles per pixel up to which a frequency is low


def bands(deviations: np.ndarray, frequency: float) -> tuple[np.ndarray, np.ndarray]:
    """Squares of pictures [..., H, W, C] at frequencies up to this one, and above, per pixel value;
    together their mean square."""
    height, width, channels = deviations.shape[-3:]
    waves = np.fft.fft2(deviations, axes=(-3, -2), norm="ortho")
    power = (np.abs(waves) ** 2).sum(-1) / (height * width * channels)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    low = (power * (radius <= frequency)).sum((-2, -1))
    return low, power.sum((-2, -1)) - low


def measure(settings: Settings, model: str) -> Table:
    """A row for each method and latent."""
    subject, count, keys = subjects.load(model), settings.models[model], settings.keys
    trace = subject.trace
    steps = settings.steps
    own: dict[str, Any] = {"divergence": trace, "measure": False}  # all are encoded alike below

    def encoded(flow: Any, x: Any, key: Any) -> Any:
        return log_density(flow, x, key=key, divergence=trace, steps=steps).value

    def plain(flow: Any, x: Any) -> Any:
        return sampling.sample(flow, x, divergence=None, steps=steps)

    def reverse(flow: Any, x: Any, key: Any, goal: Any, band: Any) -> Any:
        return sample_sde(flow, x, key, steps=steps, measure=False)

    def ours(flow: Any, x: Any, key: Any, goal: Any, band: Any) -> Any:
        options = own | {"key": key, "steps": steps // 2}
        added = noise.band(*band)
        return sampling.sample(flow, x, guidance=guidance.target(goal), noise=added, **options)

    def published(flow: Any, x: Any, key: Any, goal: Any, band: Any) -> Any:
        options = own | {"key": key, "steps": steps}
        added = noise.band(*band, form="ito_published")
        return sampling.sample(flow, x, guidance=guidance.target(goal), noise=added, **options)

    many = count * settings.independent
    drawn = jax.random.split(jax.random.key(settings.seed), (3, max(many, count * keys)))
    latents = subject.each(sampling.latent, drawn[0, :many])
    base = subject.each(plain, latents)
    log_p = subject.each(encoded, base.x, drawn[2, :many])
    found = [_rows(settings, subject, INDEPENDENT, base, log_p, np.nan, groups=1)]
    start, goal = (np.repeat(column[:count], keys, axis=0) for column in (latents, log_p))
    runs: dict[str, tuple[Callable[..., Any], tuple[float, float], float]] = {
        "none": (ours, (-FOREVER, FOREVER), 0.0),
        "early": (ours, (-FOREVER, settings.split), settings.level),
        "late": (ours, (settings.split, FOREVER), settings.level),
        "full": (ours, (-FOREVER, FOREVER), settings.level),
        "published": (published, (-FOREVER, FOREVER), settings.level),
        "reverse": (reverse, (-FOREVER, FOREVER), 1.0),
    }
    for method, (fn, ends, level) in runs.items():
        each = 1 if method == "none" else keys  # all the same but for the probes
        rows = slice(None, None, keys // each)
        band = np.tile(np.asarray([*ends, level], np.float32), (count * each, 1))
        out = subject.each(fn, start[rows], drawn[1, : count * each], goal[rows], band)
        again = subject.each(encoded, out.x, drawn[2, : count * each])
        aimed = np.nan if method == "reverse" else goal[rows]
        found.append(_rows(settings, subject, method, out, again, aimed, groups=count))
    return tables.concatenate(found)


def _rows(
    settings: Settings,
    subject: subjects.Subject,
    method: str,
    out: Any,
    log_p: np.ndarray,
    goal: Any,
    groups: int,
) -> Table:
    """Variances within groups of samples, a row for each group; or, for one group, each sample's
    part of it, of which the mean is the variance."""
    members = len(log_p) // groups
    scale = members / (members - 1) if members > 1 else np.nan

    def square(values: np.ndarray) -> np.ndarray:
        return scale * (values - values.mean(axis=1, keepdims=True)) ** 2

    def grouped(values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(groups, members, *values.shape[1:])

    x = grouped(out.x)
    low = high = np.full((groups, members), np.nan)
    if subject.is_image:
        low, high = bands(x - x.mean(axis=1, keepdims=True), settings.frequency)
        low, high = scale * low, scale * high
    tracked = np.full_like(log_p, np.nan) if goal is np.nan else out.tracked - goal
    columns = {
        "low": low,
        "high": high,
        "log_p": square(grouped(log_p)),
        "tracked": grouped(tracked) ** 2,
        "encoded": grouped(log_p - goal) ** 2,
        "evaluations": grouped(out.evaluations),
        "tangents": grouped(out.tangents),
        "failed": np.isnan(grouped(log_p)).astype(float),
    }
    axis = (1,) if groups > 1 else (0,)
    table = {name: values.mean(axis=axis) for name, values in columns.items()}
    return {"method": np.full(len(table["low"]), method), **table}


def _part(table: Table, method: str, column: str) -> np.ndarray:
    return tables.where(table, method=method)[column]


def _root(column: np.ndarray) -> float:
    return float(np.sqrt(np.mean(column)))


def _share(table: Table, method: str, column: str) -> Interval:
    """Variance between the samples of one latent relative to that of independent samples."""
    apart = _part(table, INDEPENDENT, column)
    whole = float(np.sum(apart[np.isfinite(apart)]) / max(np.isfinite(apart).sum(), 1))
    return statistics.bootstrap(
        lambda part: float(np.mean(part)) / whole, _part(table, method, column)
    )


def _tilt(table: Table) -> Interval:
    """High over low frequencies, late over early."""
    columns = [_part(table, name, band) for name in ("late", "early") for band in ("high", "low")]

    def ratio(late_high: Any, late_low: Any, early_high: Any, early_low: Any) -> float:
        return float(late_high.mean() / late_low.mean() / (early_high.mean() / early_low.mean()))

    return statistics.bootstrap(ratio, *columns)


def _roots_ratio(table: Table, column: str, one: str, two: str) -> Interval:
    return statistics.bootstrap(
        lambda a, b: _root(a) / _root(b), _part(table, one, column), _part(table, two, column)
    )


def _words(found: dict[str, Interval]) -> str:
    return "; ".join(f"{model} {interval.words}" for model, interval in found.items())


def _claims(found: dict[str, Table]) -> list[Claim]:
    pictures = {m: table for m, table in found.items() if np.isfinite(table["low"]).any()}
    tilts = {model: _tilt(table) for model, table in pictures.items()}
    kept = {m: _roots_ratio(table, "log_p", "full", "reverse") for m, table in found.items()}
    claims = [
        Claim(
            "Noise early varies structure, noise late varies detail.",
            "variance of high over low frequencies, with late over early noise: "
            + (_words(tilts) or "no picture model"),
            "the interval of that ratio of ratios lies above 1 for every model of pictures",
            verdict([bool(tilt.low > 1.0) for tilt in tilts.values()]),
        ),
        Claim(
            "Noise leaves log p where it is.",
            "spread of log p between samples of one latent with noise throughout, relative to the "
            f"reverse SDE's: {_words(kept)}",
            "the interval of the ratio lies below 0.5 for every model",
            verdict([bool(ratio.high < 0.5) for ratio in kept.values()]),
        ),
    ]
    for column, words in (("tracked", "as tracked"), ("encoded", "encoded again")):
        ratios = {m: _roots_ratio(table, column, "full", "published") for m, table in found.items()}
        claims.append(
            Claim(
                "At equal cost, the Stratonovich form keeps its target more closely than the "
                f"published Ito form, log p {words}.",
                f"root mean square distance of log p from the target, ours over the published "
                f"form's: {_words(ratios)}",
                "the interval of the ratio lies below 1 for every model",
                verdict([bool(ratio.high < 1.0) for ratio in ratios.values()]),
            )
        )
    return claims


def _figure(found: dict[str, Table], frequency: float) -> Any:
    shown = ("early", "late", "full", "reverse")
    panels = {}
    for model, table in found.items():
        panels[model] = {
            METHODS[name]: (
                np.arange(2),
                [_share(table, name, column) for column in ("low", "high")],
            )
            for name in shown
        }
    return plotting.intervals(
        panels,
        xlabel=f"frequencies up to {frequency:g} cycles per pixel, and above",
        ylabel="variance / that of independent samples",
        columns=3,
        log=True,
        ticks=("low", "high"),
    )


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """What varies, what stays, and four claims."""
    counts = ("evaluations", "tangents", "failed")
    nats = ("spread of log p", "tracked less target", "encoded less target")
    rows: list[list[Any]] = []
    for model, table in found.items():
        for method, words in METHODS.items():
            part = tables.where(table, method=method)
            row: list[Any] = [model, words]
            row += [float(part[name].mean()) for name in counts]
            row += [_share(table, method, name).words for name in ("low", "high")]
            for name in ("log_p", "tracked", "encoded"):
                row.append(statistics.bootstrap(_root, part[name]).words)
            rows.append([cell if cell != NOTHING else "-" for cell in row])
    heads = ("model", "method", *counts, "low", "high", *nats)
    text = (
        "Low and high: variance between samples of one latent at frequencies up to "
        f"{settings.frequency:g} cycles per pixel and above, relative to independent samples. "
        "Spread of log p between samples of one latent, and root mean square distance from the "
        "target, in nats. Failed: the share of samples whose log p is not finite."
    )
    sections = [Section("What varies, and what stays", text, heads, rows)]
    pictures = {m: table for m, table in found.items() if np.isfinite(table["low"]).any()}
    if pictures:
        words = (
            "A line that rises varies high frequencies more than low ones; the claim compares how "
            "steeply those of late and early noise rise."
        )
        sections.insert(
            0, Section("Structure and detail", words, figure=_figure(pictures, settings.frequency))
        )
    return Reading(sections, _claims(found))


NOTHING = Interval(np.nan, np.nan, np.nan).words

QUESTION = Question("What does noise vary?", METHOD, Settings, measure, read)
