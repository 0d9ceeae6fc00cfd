"""Which estimate of log-density is worth what?"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from densityguide import plotting
from densityguide.plotting import spearman
from studies.evidence import deviations, statistics, tables
from studies.evidence.estimates import COARSER, NAMES, SETS, YARDSTICK, Settings, measure
from studies.evidence.statistics import Interval
from studies.evidence.study import Claim, Question, Reading, Section, verdict
from studies.evidence.tables import Table

__all__ = ["QUESTION", "Settings", "continued", "kendall"]

METHOD = """
Four estimates of log p, all in nats at the same noise level, of the same pictures: held-out data
(dequantised), and samples of the reverse SDE. The yardstick is the change of variables along the
probability-flow ODE with exact traces; above 64 dimensions, with many probes (`reference` of them).
Against it: the same with two cycled probes, on the same grid, so that the solver's error is in
neither; the forward bound (`elbo`); and, of its own samples only, the value that the reverse SDE
brings along (`sample_sde`, Ito, no trace). That one is of another density than the ODE's where the
score is not exact, and its mean has an error of discretisation; a second set of samples, drawn with
a quarter of the steps, shows how large that is.

Bias is the mean of estimate - yardstick over pictures, spread its standard deviation from picture
to picture. Estimates with keys are repeated with others: noise is the standard deviation over the
repeats of one picture, beside the one that the estimate states. Models trained on the same data
encode the same held-out pictures, which are recognised by a checksum. Differences in bits per
dimension are nats / (D ln 2). Not measured: quality of the models, or which estimate is nearer to
the data's own density.
"""
FEWEST = 8  # pictures that two models have in common, to be compared
HEADS = (
    *("model", "of", "estimate", "n", "bias (nats)", "bias (bits/dim)"),
    *("spread", "noise", "stated error"),
)
EQUAL, RANKED, FAMILIES, TRUE = 0.01, 0.9, 0.8, (2 / 3, 3 / 2)


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b: the share of pairs in one order in both, less that in opposite order."""
    return float(stats.kendalltau(a, b).statistic)


def _aligned(table: Table, source: str, estimate: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values [pictures, repeats], their stated errors, the yardstick [pictures])."""
    known = tables.where(table, source=source, estimate=YARDSTICK)
    part = tables.where(table, source=source, estimate=estimate)
    # Rows keep the order of the pictures within a repeat.
    shape = (-1, len(known["value"]))
    return part["value"].reshape(shape).T, part["standard_error"].reshape(shape).T, known["value"]


def _cells(found: dict[str, Table]) -> list[tuple[str, str, str]]:
    """(model, source, estimate) of everything measured."""
    return [
        (model, source, estimate)
        for model, table in found.items()
        for source in SETS
        for estimate in NAMES
        if len(tables.where(table, source=source, estimate=estimate)["value"])
    ]


def _bias(values: np.ndarray, truth: np.ndarray) -> Interval:
    return statistics.mean(values.mean(axis=1) - truth)


def continued(fine: np.ndarray, coarse: np.ndarray) -> float:
    """Where the means of ``fine`` and of ``coarse``, with steps `COARSER` times as long, point to
    as the step goes to 0 (Richardson, 1911)."""
    return float(fine.mean() - (coarse.mean() - fine.mean()) / (COARSER - 1))


def _order(fine: np.ndarray, coarse: np.ndarray) -> float:
    """Order of an error of discretisation that would explain both means, with nothing left."""
    ratio = coarse.mean() / fine.mean()
    return float(np.log(ratio) / np.log(COARSER)) if ratio > 0 else np.nan


def _steps(table: Table) -> list[str]:
    """Bias at a quarter of the steps, `continued` from there, and `_order`."""
    gaps = []
    for source in ("samples", "coarse"):
        values, _, truth = _aligned(table, source, "reverse")
        gaps.append(values[:, 0] - truth)
    found = [statistics.bootstrap(f, *gaps) for f in (continued, _order)]
    return [statistics.mean(gaps[1]).words, *[ends.words for ends in found]]


def _noise(values: np.ndarray) -> float:
    """Standard deviation over the repeats, pooled over pictures."""
    return float(np.sqrt(np.mean(np.var(values, axis=1, ddof=1))))


def _truth_of_errors(values: np.ndarray, errors: np.ndarray) -> Interval:
    """Root mean square stated error over the noise that is seen."""

    def ratio(values: np.ndarray, errors: np.ndarray) -> float:
        return float(np.sqrt(np.mean(errors**2)) / _noise(values))

    return statistics.bootstrap(ratio, values, errors)


def _families(found: dict[str, Table]) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Pairs of models with the yardstick of the held-out pictures that both encoded."""
    known = {}
    for model, table in found.items():
        part = tables.where(table, source="data", estimate=YARDSTICK)
        known[model] = dict(zip(part["picture"].tolist(), part["value"].tolist(), strict=True))
    pairs = []
    for first, second in combinations(known, 2):
        both = [name for name in known[first] if name in known[second]]
        if len(both) >= FEWEST:
            a, b = (np.asarray([known[model][name] for name in both]) for model in (first, second))
            pairs.append((first, second, a, b))
    return pairs


def _claim(text: str, rule: str, cells: list[tuple[bool, str]]) -> Claim:
    passed = [fine for fine, _ in cells]
    misses = [words for fine, words in cells if not fine]
    said = f"; not for {'; '.join(misses[:4])}" if misses else ""
    said += f" and {len(misses) - 4} more" if len(misses) > 4 else ""
    return Claim(text, f"{sum(passed)} of {len(passed)}{said}", rule, verdict(passed))


def read(settings: Settings, found: dict[str, Table]) -> Reading:
    """Bias, spread and noise of each estimate, how they rank, and how models of one data set do."""
    rows, ranks, costs, steps = [], [], [], []
    high, low, equal, ranked, true = [], [], [], [], []
    for model, source, estimate in _cells(found):
        values, errors, truth = _aligned(found[model], source, estimate)
        size = found[model]["size"][0]
        bias, gap = _bias(values, truth), values[:, 0] - truth
        in_bits = Interval(*(float(deviations.bits(np.asarray(end), size)) for end in bias))
        name = f"{model}, {SETS[source]}, {NAMES[estimate]}: "
        noise, stated = np.nan, np.nan
        if values.shape[1] > 1:
            noise, stated = _noise(values), float(np.sqrt(np.mean(errors**2)))
            ratio = _truth_of_errors(values, errors)
            fine = TRUE[0] < ratio.low and ratio.high < TRUE[1]
            true.append((fine, f"{name}{ratio.words}"))
        rows.append(
            [
                *(model, SETS[source], NAMES[estimate], len(truth), bias.words, in_bits.words),
                *(float(np.std(gap, ddof=1)), noise, stated),
            ]
        )
        if source == "coarse":
            continue
        order, pairs = (
            statistics.bootstrap(statistic, values[:, 0], truth)
            for statistic in (spearman, kendall)
        )
        ranks.append([model, SETS[source], NAMES[estimate], order.words, pairs.words])
        ranked.append((order.low > RANKED, f"{name}{order.words}"))
        if estimate == "reverse":
            steps.append([model, bias.words, *_steps(found[model])])
            high.append((bias.low > 0, f"{model}: {bias.words} nats"))
        elif estimate == "bound":
            low.append((bias.high < 0, f"{name}{bias.words} nats"))
        else:
            fine = in_bits.low > -EQUAL and in_bits.high < EQUAL
            equal.append((fine, f"{name}{in_bits.words} bits/dim"))
    for model, table in found.items():
        for estimate, words in {YARDSTICK: "yardstick", **NAMES}.items():
            part = tables.where(table, source="samples", estimate=estimate)
            if len(part["value"]):
                costs.append(
                    [model, words, *(float(part[c].mean()) for c in ("evaluations", "tangents"))]
                )
    agree, alike = [], []
    for first, second, a, b in _families(found):
        order, pairs = (statistics.bootstrap(f, a, b) for f in (spearman, kendall))
        agree.append([first, second, len(a), order.words, pairs.words])
        alike.append((order.low > FAMILIES, f"{first} and {second}: {order.words}"))
    claims = [
        _claim(
            "Two probes are as good as many on average.",
            "the interval of every mean difference to the yardstick (model, set) lies within "
            f"{EQUAL:g} bits/dim of 0",
            equal,
        ),
        _claim(
            "The forward bound is below the ODE's log p.",
            "the interval of every mean difference (model, set) lies below 0",
            low,
        ),
        _claim(
            "The reverse SDE's value is too high for its own samples.",
            "the interval of every mean difference (model), at the steps measured, lies above 0",
            high,
        ),
        _claim(
            "All estimates rank pictures as the yardstick does.",
            "the interval of Spearman's correlation with the yardstick lies above "
            f"{RANKED:g} for every model, set and estimate",
            ranked,
        ),
        _claim(
            "Stated standard errors are what repeats show.",
            "the interval of stated error / noise lies within 2/3 and 3/2 for every model, set and "
            "estimate",
            true,
        ),
    ]
    if alike:
        claims.append(
            _claim(
                "Models of different families rank the same held-out data alike.",
                f"the interval of Spearman's correlation lies above {FAMILIES:g} for every pair of "
                "models of one data set",
                alike,
            )
        )
    return Reading(_sections(found, rows, ranks, costs, steps, agree), claims)


def _scatter(model: str, table: Table) -> Section:
    """Every estimate of the reverse SDE's samples against the yardstick."""
    parts = {NAMES[name]: _aligned(table, "samples", name) for name in NAMES}
    truth = next(iter(parts.values()))[2]
    figure = plotting.detail(
        truth,
        {name: values[:, 0] for name, (values, _, _) in parts.items()},
        xlabel="log p, yardstick (nats)",
        title=model,
        diagonal=True,
    )
    return Section(
        f"Estimates against the yardstick: {model}",
        "Samples; on the line an estimate is the yardstick.",
        figure=figure,
    )


def _sections(
    found: dict[str, Table],
    rows: list[Any],
    ranks: list[Any],
    costs: list[Any],
    steps: list[Any],
    agree: list[Any],
) -> list[Section]:
    sections = [
        Section(
            "Bias and spread",
            "Estimate less yardstick; spread, noise and stated error in nats.",
            HEADS,
            rows,
        ),
        Section(
            "The reverse SDE as its steps go to 0",
            "Bias in nats, of its own samples. Two numbers of steps cannot tell the order of the "
            "error from what would be left without it: if the order is 1, the fourth column is "
            "left; if it is that of the last column, nothing is.",
            (
                "model",
                "as measured",
                "quarter of the steps",
                "left at order 1",
                "order, if 0 is left",
            ),
            steps,
        ),
        Section(
            "Ranks",
            "Correlation of the first repeat with the yardstick.",
            ("model", "of", "estimate", "Spearman", "Kendall"),
            ranks,
        ),
        Section(
            "What they take",
            "Of one picture; the reverse SDE's evaluations draw it as well.",
            ("model", "estimate", "evaluations", "tangents"),
            costs,
        ),
    ]
    if agree:
        sections.append(
            Section(
                "Models of one data set",
                "Rank correlation of the yardstick on the same held-out data.",
                ("model", "and", "n", "Spearman", "Kendall"),
                agree,
            )
        )
    return [*sections, *(_scatter(model, table) for model, table in found.items())]


QUESTION = Question("Which estimate of log p is worth what?", METHOD, Settings, measure, read)
