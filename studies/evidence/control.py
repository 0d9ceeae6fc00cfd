"""How far is log p from what was asked for?"""

from __future__ import annotations

from typing import Any

import numpy as np

from densityguide import plotting
from densityguide.solve import Status
from studies.evidence import deviations, statistics, tables
from studies.evidence.statistics import Interval
from studies.evidence.steered import Settings, measure
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings", "arriving", "deviation"]

METHOD = """
Samples are drawn without guidance, by `quantile`, by `target` at the 5th, 50th and 95th percentile
of the log p of the unguided ones, by `land` along `target`, and by `match_log_density` at the same
percentiles in turn. Latents are the same for all of them. A guided solve *tracks* log p as far as
the model's score is the gradient of the flow's log p; the finished sample is then *encoded* again
by `log_density`, which needs no score and says what log p is under the flow's own density. For
`quantile` and unguided samples there is no requested log p, and the tracked one stands for it.
Traces are exact in two dimensions and take cycled probes for pictures, two unless the settings name
another number. The encoding's own are drawn apart from those that steered, and the variance that
its standard error explains is taken off mean squares; the noise of the probes that steered is an
error of the control and stays; where the probes' variance exceeds the mean square, the root mean
square counts as 0. With `land` and `match` what stands as tracked is their own final encoding.
Every solve has the same fixed number of steps. For unguided samples the difference itself is the
solver's; for `target` compare the 50th percentile with that at twice as many steps, encoded with
twice as many: what is left there is not the solver's. `quantile` with more steps is on [the page of
the dial](dial.md). Samples whose solver found its own steps too few for log p (status COARSE) are
counted as *coarse*: there a difference may be the solver's. *Unmet* are samples with the status
UNMET: the limit cut what guidance asked for, by so many nats along the solve (mean magnitude). A
target asks again for what was cut and may end met, a quantile does not; `land` asks for more than
its target where that reaches it. The spread of log p is the standard deviation of the tracked log p
of unguided samples. Differences in bits per dimension are nats / (D ln 2).
"""
LANDED, AGREES, SHARE = 0.01, 0.05, 0.1  # bits/dim, bits/dim, share of the model's own spread
NEAR, MOST = 0.002, 0.95  # bits/dim beside three standard errors of the probes; share of samples

TITLES = {
    "target": ("Target", "What was asked for is a percentile of the model's own log p."),
    "finer": ("Target with twice as many steps", "To be compared with the same percentile above."),
    "land": (
        "Landed along target",
        "Tracked stands for the log p that landing itself encoded at the end.",
    ),
    "match": ("Match", "Where no scale of the latent has the requested log p, it counts here."),
    "quantile": ("Quantile", "Requested stands for the tracked log p."),
    "plain": ("Without guidance", "What the solver and the probes alone leave."),
}


def deviation(part: Table, of: str = "encoded") -> Interval:
    """Root mean square of (encoded or tracked) - requested log p, bits/dim; nan, which passes no
    rule, where a sample failed."""
    error = deviations.bits(part[of] - part["requested"], part["size"][0])
    if not np.isfinite(error).all() or not len(error):
        return Interval(np.nan, np.nan, np.nan)
    noise = deviations.bits(part["noise"], part["size"][0]) if of == "encoded" else None
    return deviations.interval(error, noise)


def arriving(push: np.ndarray, rise: np.ndarray) -> float:
    """Least squares slope through 0 of the log p gained on the log p asked for."""
    power = float(push @ push)
    return float(push @ rise) / power if power > 0 else np.nan


def _spread(table: Table) -> float:
    natural = tables.where(table, method="plain")["tracked"]
    return float(np.nanstd(natural, ddof=1))


def _has(part: Table, bit: Status) -> np.ndarray:
    return np.asarray((part["status"].astype(int) & int(bit)) != 0)


def _row(model: str, request: str, part: Table, spread: float) -> list[Any]:
    nats = statistics.mean(part["encoded"] - part["requested"])
    found = deviation(part)
    share = found.value * part["size"][0] * np.log(2.0) / spread
    aimed = part["method"][0] not in ("plain", "quantile")
    return [
        *(model, request, len(part["size"])),
        deviation(part, "tracked").words if aimed else "none was requested",
        *(nats.words, found.words, f"{share:.1%}"),
        *(f"{_has(part, bit).mean():.0%}" for bit in (Status.COARSE, Status.UNMET)),
        *(float(np.mean(np.abs(part["unmet"]))), f"{np.isnan(part['encoded']).sum():.0f}"),
    ]


HEADS = (
    *("model", "request", "n", "tracked - requested, RMS (bits/dim)"),
    *("encoded - requested, mean (nats)", "RMS (bits/dim)", "RMS / spread of log p"),
    *("coarse", "unmet", "nats unmet, mean", "failed"),
)


def _found(passed: list[bool], worst: list[tuple[float, str]], what: str) -> str:
    largest = max(worst, key=lambda pair: np.nan_to_num(pair[0], nan=np.inf))
    return f"{sum(passed)} of {len(passed)} {what}; the largest is {largest[1]}"


def _judge(
    text: str, cells: dict[str, Table], limit: float, *, of: str = "encoded", spread: Any = None
) -> Claim:
    """A claim that a deviation is below ``limit`` bits/dim, or that share of each spread."""
    passed, worst = [], []
    for name, part in cells.items():
        found, unit = deviation(part, of), "bits/dim"
        if spread is not None:
            scale = part["size"][0] * np.log(2.0) / spread[name.split(",")[0]]
            found, unit = Interval(*(scale * end for end in found)), "of the spread"
        passed.append(bool(found.high < limit))
        worst.append((found.value, f"{found.words} {unit} ({name})"))
    unit = "bits/dim" if spread is None else "of the standard deviation of unguided log p"
    rule = (
        f"the interval of every root mean square ({of} - requested log p; model, request) ends "
        f"below {limit:g} {unit}, and no sample failed"
    )
    what = f"root mean squares end below {limit:g}"
    told = _found(passed, worst, what)
    coarse = [name for name, part in cells.items() if _has(part, Status.COARSE).mean() > 0.5]
    if coarse:
        told += f"; most samples of {', '.join(coarse)} are coarse"
    return Claim(text, told, rule, verdict(passed))


def _near(landed: dict[str, Table]) -> Claim:
    """How many of those that have a root end where they were asked to."""
    shares, lines = [], []
    for model, table in landed.items():
        part = _rooted(table)
        scale = table["size"][0] * np.log(2.0)
        off = np.abs(part["encoded"] - part["requested"])
        # Of one sample the standard error is as random as its probes are few.
        noise = float(np.sqrt(np.mean(np.nan_to_num(part["noise"]) ** 2)))
        near = off <= NEAR * scale + 3.0 * noise
        shares.append(bool(near.sum() >= MOST * len(near)))
        lines.append(f"{model} {near.sum()} of {len(near)} (error {noise / scale:.2g})")
    return Claim(
        "Landing ends at the requested log p, under the flow's own density.",
        f"{'; '.join(lines)} that have a root, with the probes' standard error in bits/dim",
        f"at least {MOST:.0%} of a model's landed samples that have a root are encoded within "
        f"{NEAR:g} bits/dim and three standard errors of the probes, taken together over samples, "
        "for every model",
        verdict(shares),
    )


def _cells(found: dict[str, Table], method: str) -> dict[str, Table]:
    """The rows of a method, for every model and request."""
    cells = {}
    for model, table in found.items():
        part = tables.where(table, method=method)
        for request in np.unique(part["request"]):
            words = f"q = {request:g}" if method == "quantile" else f"percentile {request:g}"
            words = "none" if method == "plain" else words
            cells[f"{model}, {words}"] = tables.where(part, request=request)
    return cells


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Deviations for each method, model and request, and what is claimed of them."""
    spread = {model: _spread(table) for model, table in found.items()}
    cells = {name: _cells(found, name) for name in TITLES}
    # Few samples for each request: judged together, and those without a root apart.
    whole = {model: tables.where(table, method="match") for model, table in found.items()}
    rooted = {model: _rooted(table) for model, table in whole.items()}
    missing = sum(int(_has(table, Status.NO_ROOT).sum()) for table in whole.values())
    match = _judge(
        "Scaling the latent (match) gives the requested log p under the flow's own density, "
        "where roots are found, at least two of a model.",
        {model: part for model, part in rooted.items() if len(part["size"]) > 1} or whole,
        LANDED,
    )
    total = sum(len(table["size"]) for table in whole.values())
    match = match._replace(found=f"{match.found}; {missing} of {total} had no root")
    claims = [
        _judge(
            "Target guidance lands on the requested log p, as tracked.",
            cells["target"],
            LANDED,
            of="tracked",
        ),
        _judge(
            "Encoded again, a sample of target guidance has the requested log p.",
            cells["target"],
            AGREES,
        ),
        _judge(
            "The error that is left is small against the spread of the model's log p.",
            cells["target"],
            SHARE,
            spread=spread,
        ),
        _near({model: tables.where(table, method="land") for model, table in found.items()}),
        _judge("Landing closes the gap, those without a root counted.", cells["land"], LANDED),
        match,
        _judge("The log p that quantile guidance tracks is the flow's.", cells["quantile"], AGREES),
    ]
    return Reading(_sections(found, cells, spread), claims)


def _rooted(table: Table) -> Table:
    keep = ~_has(table, Status.NO_ROOT)
    return {name: column[keep] for name, column in table.items()}


def _sections(
    found: dict[str, Table], cells: dict[str, dict[str, Table]], spread: dict[str, float]
) -> list[Section]:
    sections = [_figure(found, cells)]
    for method, (title, text) in TITLES.items():
        rows = []
        for name, part in cells[method].items():
            model, request = name.split(", ", 1)
            rows.append(_row(model, request, part, spread[model]))
        sections.append(Section(title, text, HEADS, rows))
    rows = []
    for model, table in found.items():
        part = tables.where(table, method="target")
        push, rise = (part[name] - part["natural"] for name in ("requested", "encoded"))
        slope = statistics.bootstrap(arriving, push, rise)
        rows.append([model, len(push), float(np.sqrt(np.mean(push**2))), slope.words])
    sections.append(
        Section(
            "How much of a change arrives",
            "The change asked for is requested log p less that of the unguided sample from the "
            "same latent; the slope of the change found by encoding on it is 1 for a score that "
            "is the gradient of the flow's log p.",
            ("model", "n", "change asked for, RMS (nats)", "share that arrives"),
            rows,
        )
    )
    return sections


def _figure(found: dict[str, Table], cells: dict[str, dict[str, Table]]) -> Section:
    names = {"target": "target", "land": "landed", "match": "match"}
    panels: dict[str, Any] = {model: {} for model in found}
    for method, label in names.items():
        for model in found:
            parts = [
                _rooted(part) for name, part in cells[method].items() if name.split(",")[0] == model
            ]
            parts = [part for part in parts if len(part["size"])]
            if not parts:
                continue
            ends = []
            for part in parts:
                gap = part["encoded"] - part["requested"]
                ends.append(statistics.mean(deviations.bits(gap, part["size"][0])))
            panels[model][label] = ([part["request"][0] for part in parts], np.asarray(ends))
    figure = plotting.intervals(
        panels,
        xlabel="requested percentile of the model's own log p",
        ylabel="error of log p (bits/dim)",
        level=0.0,
    )
    return Section(
        "Error of log p",
        "Encoded less requested log p: means with their intervals, of match where it had a root.",
        figure=figure,
    )


QUESTION = Question("How far is log p from what was asked for?", METHOD, Settings, measure, read)
