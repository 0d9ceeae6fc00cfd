"""Costs: the search, and what the rules say of rows."""

import numpy as np
import pytest

from studies.evidence import costs, tables, timing


def test_enough_is_the_least_number_within_the_tolerance():
    assert timing.enough({8: 1.0, 16: 0.1, 32: 0.005, 64: 1e-4}, 0.01) == 32
    assert np.isnan(timing.enough({8: np.inf, 16: 0.1}, 0.01))


def made(steps=None, seconds=None):
    """Rows of a model: every method takes 16 steps and one second, but for those given."""
    steps, seconds = steps or {}, seconds or {}
    empty = dict.fromkeys(("error", "evaluations", "tangents", "round", "seconds"), np.nan)
    rows = []
    for method in timing.FOLLOWS:
        n = float(steps.get(method, 16))
        spent = {"evaluations": n + 1, "tangents": 2 * n}
        rows.append({"kind": "cost", "method": method, "steps": n, **empty, **spent})
        for index in range(3):
            one = {"round": float(index), "seconds": seconds.get(method, 1.0) * (1 + index)}
            rows.append({"kind": "time", "method": method, "steps": np.nan, **empty, **one})
    for method in timing.SEARCHED:
        rows.append({"kind": "search", "method": method, "steps": 16.0, **empty, "error": 1e-3})
    return tables.from_rows(rows)


def verdicts(**options):
    claims = costs.read(costs.Settings(), {"digits8": made(**options)}).claims
    return [claim.verdict.split(" (")[0] for claim in claims]


def test_what_is_cheap_holds_and_what_is_dear_does_not():
    cheap = verdicts(seconds={"match": 20.0})
    dear = verdicts(steps={"quantile": 32}, seconds={"plain, log p": 9.0})
    assert cheap == ["holds"] * 3
    assert dear == ["does not hold here"] * 3


def test_a_search_without_an_end_is_no_success():
    assert verdicts(steps={"quantile": np.nan})[0] == "does not hold here"


def test_ratios_are_of_the_same_round():
    np.testing.assert_allclose(costs._ratios(made(seconds={"match": 20.0}), "match"), 20.0)


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_rows_of_a_model():
    settings = costs.Settings({"spiral2d": 8}, most=8, sde_steps=8, levels=4, batch=1, rounds=1)
    rows = timing.measure(settings, "spiral2d")
    assert len(tables.where(rows, kind="time")["seconds"]) == len(timing.FOLLOWS)
    assert len(costs.read(settings, {"spiral2d": rows}).claims) == 3
