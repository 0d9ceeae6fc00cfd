"""What does each method cost at equal accuracy?"""

from __future__ import annotations

import numpy as np

from studies.evidence import tables
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table
from studies.evidence.timing import FOLLOWS, SEARCHED, TOLERANCE, Settings, measure

__all__ = ["QUESTION", "Settings"]

METHOD = """
How many steps a method needs is searched by doubling, from 8 on: enough is the first number whose
results differ from those with four times as many steps, same latents and keys, by at most a
tolerance (root mean square over samples). For solves without log p the tolerance is 0.01 in x, root
mean square per entry, on the scale on which data have about unit size; for log p 0.01 bits per
dimension, nats / (D ln 2), after the variance that the probes' standard errors explain is taken
off; for `target` it is that difference of the samples' log p as encoded with 128 steps. The search
is made for plain sampling, the same with log p, `quantile` and `target`. A method that solves the
same equation as one of them takes its steps (see the table); the forward bound and the reverse SDE
have fixed ones, since their error is one of chance or falls too slowly to be compared.

Log p takes an exact trace in two dimensions and two cycled probes for pictures; up to 64
dimensions the plain sample is timed with exact traces as well. Seconds are those of a small batch
compiled into one program, compilation apart; all methods are run in turn, several times over, and
each time is divided by that of the plain sample of the same round. `match` runs on one sample. On
tiny models most of the time is not spent in the network.
"""
AFFORDABLE, TENTH, AS_PLAIN = 4.0, 0.1, 1.25


def _measured(table: Table, method: str) -> bool:
    return len(tables.where(table, kind="cost", method=method)["steps"]) > 0


def _ratios(table: Table, method: str) -> np.ndarray:
    """Quartiles [3] of a method's seconds over those of the plain sample of the same round."""
    times = [tables.where(table, kind="time", method=name) for name in (method, "plain")]
    return np.percentile(times[0]["seconds"] / times[1]["seconds"], [25, 50, 75])


def _cost(table: Table, method: str, column: str) -> float:
    return float(tables.where(table, kind="cost", method=method)[column][0])


def _told(method: str, steps: float, most: int) -> str:
    """The bound has levels and replicates in place of steps."""
    if method == "forward bound":
        return "-"
    return f"more than {most}" if np.isnan(steps) else f"{steps:.0f}"


def _claim(text: str, rule: str, cells: dict[str, float], limit: float) -> Claim:
    passed = [bool(value <= limit) for value in cells.values()]
    words = ", ".join(
        f"{value:.2g} ({name})" if np.isfinite(value) else f"not reached ({name})"
        for name, value in cells.items()
    )
    return Claim(text, words, rule, verdict(passed))


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """The table of costs, and what is claimed of them."""
    sections, searches = [], []
    evaluations, probes, aims = {}, {}, {}
    for model, table in found.items():
        rows = []
        for method, follows in FOLLOWS.items():
            if not _measured(table, method):
                continue
            low, middle, high = _ratios(table, method)
            steps = _cost(table, method, "steps")
            seconds = tables.where(table, kind="time", method=method)["seconds"]
            rows.append(
                [
                    method,
                    _told(method, steps, settings.most),
                    "its own" if method in follows else " and ".join(follows) or "fixed",
                    *(_cost(table, method, name) for name in ("evaluations", "tangents")),
                    float(np.median(seconds)),
                    f"{middle:.3g} ({low:.3g} to {high:.3g})",
                ]
            )
        heads = ("method", "steps", "steps of", "evaluations", "tangents", "seconds")
        sections.append(
            Section(
                model,
                "Of one sample; ratio to the plain one: median and quartiles of the rounds.",
                (*heads, "ratio of seconds"),
                rows,
            )
        )
        for method, unit in SEARCHED.items():
            tried = tables.where(table, kind="search", method=method)
            errors = ", ".join(
                f"{steps:.0f}: {error:.2g}"
                for steps, error in zip(tried["steps"], tried["error"], strict=True)
            )
            searches.append([model, method, "RMS of x" if unit == "x" else "bits/dim", errors])
        known = {name: _cost(table, name, "steps") for name in ("plain", "quantile")}
        spent = {name: _cost(table, name, "evaluations") for name in known}
        ratio = spent["quantile"] / spent["plain"]
        evaluations[model] = ratio if np.isfinite(list(known.values())).all() else np.nan
        reached = np.isfinite(_cost(table, "plain, log p", "steps"))
        probes[model] = float(_ratios(table, "plain, log p")[1]) if reached else np.nan
        share = float(_ratios(table, "target")[1] / _ratios(table, "match")[1])
        both = [_cost(table, name, "steps") for name in ("target", "match")]
        aims[model] = share if np.isfinite(both).all() else np.nan
    sections.append(
        Section(
            "The search",
            "Number of steps: its difference to four times as many; the last one is enough if it "
            f"is at most {TOLERANCE:g}.",
            ("model", "method", "unit", "differences"),
            searches,
        )
    )
    claims = [
        _claim(
            "Density guidance without log p takes no more evaluations than plain sampling of equal "
            "accuracy.",
            f"evaluations of quantile / plain are at most {AS_PLAIN:g} for every model",
            evaluations,
            AS_PLAIN,
        ),
        _claim(
            "Two probes make log p affordable.",
            f"the median ratio of seconds to a plain sample is at most {AFFORDABLE:g} for every "
            "model",
            probes,
            AFFORDABLE,
        ),
        _claim(
            "Target guidance costs a tenth of match or less.",
            f"median seconds of target / match are at most {TENTH:g} for every model",
            aims,
            TENTH,
        ),
    ]
    return Reading([_glance(found), *sections], claims)


def _glance(found: dict[str, Table]) -> Section:
    rows = []
    for method in FOLLOWS:
        cells = []
        for table in found.values():
            if not _measured(table, method):
                cells.append("too costly")
                continue
            ratio, evaluations = _ratios(table, method)[1], _cost(table, method, "evaluations")
            least = "> " if np.isnan(_cost(table, method, "steps")) else ""
            cells.append(f"{least}{ratio:.3g} ({evaluations:,.0f})")
        rows.append([method, *cells])
    text = (
        "Seconds of a sample, in those of a plain one (and network evaluations); after > the "
        "tolerance was not reached with the most steps that were tried."
    )
    return Section("At a glance", text, ("method", *found), rows)


QUESTION = Question(
    "What does each method cost at equal accuracy?", METHOD, Settings, measure, read
)
