"""What `densityguide gather` reads of a job: its numbers, and a few of its pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from densityguide.app import source, summary
from densityguide.app.jobs.config import Alignment, Sampling
from densityguide.app.jobs.view import Results
from densityguide.app.source import Source
from densityguide.solve import Status

__all__ = ["MEANINGS", "Group", "Shown", "groups", "is_alignment", "known", "means", "numbers"]
__all__ += ["pictures"]

ACROSS, DOWN = 8, 6  # pictures of a row; rows where there is one value only
SMALL = (
    *("log_density", "standard_error", "solver_error", "total_error", "bits_per_dim", "tracked"),
    *("unmet", "value", "cosine", "evaluations", "tangents", "status"),
)
MEANINGS = {
    Status.NON_FINITE: "a step gave inf or nan; no log p",
    Status.MAX_STEPS: "ran out of steps; no log p",
    Status.UNMET: "the guidance asked for more than it may do",
    Status.INVALID: "a number was out of range",
    Status.NO_ROOT: "the requested log p was not reached",
    Status.MANY_ROOTS: "several samples reach it; the nearest was taken",
    Status.DISAGREES: "tracked and measured log p differ beyond their bars",
    Status.COARSE: "too few steps to know the solver's error",
    Status.NEGATIVE: "chords of a curve are negative",
    Status.INACCURATE: "the error bar is wider than asked",
    Status.BEYOND: "q lies outside the measured range",
}


class Group(NamedTuple):
    """The rows of one value of the guidance, or all."""

    label: str
    rows: np.ndarray


class Shown(NamedTuple):
    """Pictures that stand for a group: rows of the results, and integer images [N, H, W, C]."""

    label: str
    rows: np.ndarray
    images: np.ndarray


def numbers(found: Results) -> dict[str, np.ndarray]:
    """The arrays with one number a sample, read whole."""
    return {name: found[name][:] for name in SMALL if name in found}


def known(found: Results) -> tuple[Source | None, str]:
    """The model of the job, or None and why it is not to be had here."""
    try:
        return source.load(found.job.model, found.job.condition or None, option="condition"), ""
    except (ValueError, FileNotFoundError) as error:
        return None, str(error)


def groups(found: Results) -> list[Group]:
    """In the order of the values, those that have rows."""
    asked = found.guidance
    if not np.isfinite(asked).any():
        return [Group("all", np.arange(len(found.row)))]
    assert isinstance(found.job, Sampling)
    kind, values = found.job.guidance.kind, np.unique(asked)
    name = {"quantile": "q", "calibrated": "q", "pinned": "q"}.get(kind, kind)
    return [
        Group(f"{name} {value:,.6g}", np.flatnonzero(asked == value)) for value in values.tolist()
    ]


def means(loaded: Source | None, part: dict[str, np.ndarray]) -> dict[str, Any]:
    """`summary.means` of these rows; without the model, bits per dimension are unknown."""
    flow: Any = _Bare() if loaded is None else loaded.flow
    nan = np.full(len(part["log_density"]), np.nan)
    return summary.means(flow, part["log_density"], part.get("total_error", nan))


class _Bare(NamedTuple):
    """In place of a flow that is not here."""

    transform: None = None
    size: int = 1


def pictures(found: Results, loaded: Source | None, stored: dict[str, np.ndarray]) -> list[Shown]:
    """Of several values the same samples at each; of one, samples from the smallest log p to the
    largest. Nothing where samples are no pictures."""
    draw = _drawing(found, loaded)
    if draw is None:
        return []
    sets = groups(found)
    if len(sets) > 1:
        common = set.intersection(*(set(found.sample[g.rows].tolist()) for g in sets))
        few = np.asarray(sorted(common)[:ACROSS], np.int64)
        chosen = [(g.label, g.rows[np.isin(found.sample[g.rows], few)]) for g in sets]
    else:
        log_p = stored.get("log_density", np.zeros(0))
        order = np.argsort(log_p, kind="stable")[: int(np.isfinite(log_p).sum())]
        if not len(order):
            order = sets[0].rows
        at = np.unique(np.rint(np.linspace(0, len(order) - 1, ACROSS * DOWN)).astype(int))
        rows = order[at]
        chosen = [("", rows[n : n + ACROSS]) for n in range(0, len(rows), ACROSS)]
    return [Shown(label, rows, draw(rows)) for label, rows in chosen if len(rows)]


def _drawing(found: Results, loaded: Source | None) -> Callable[[np.ndarray], np.ndarray] | None:
    if loaded is None or not loaded.is_image or not isinstance(found.job, Sampling):
        return None
    if "images" in found:
        return lambda rows: np.asarray(found["images"][rows])
    decode = loaded.pictures
    if "x" not in found or decode is None:
        return None
    return lambda rows: np.asarray(decode(found["x"][rows]))


def is_alignment(found: Results) -> bool:
    """Whether the job measured score alignment, which has a value in place of log p."""
    return isinstance(found.job, Alignment)
