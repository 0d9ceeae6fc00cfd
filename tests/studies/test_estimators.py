"""Estimates of log p: ranks, and what the rules say of rows that are right and of rows that are
not."""

import numpy as np
import pytest
from scipy import stats

from studies.evidence import estimates, estimators, tables

pytestmark = pytest.mark.usefixtures("few_draws")

SIZE, COUNT, REPEATS = 64.0, 30, 4


def made(probes=0.0, bound=-3.0, reverse=3.0, noise=0.3, stated=0.3, shuffled=False, seed=0):
    """Rows of a model whose estimates are off by so many nats."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(0)  # the pictures' log p, the same in every model
    bias = {"probes": probes, "bound": bound, "reverse": reverse}
    parts = []
    for source in estimators.SETS:
        truth = world.normal(0.0, 30.0, COUNT)
        truth = rng.permutation(truth) if shuffled else truth
        for estimate in ("reference", *bias):
            if estimate == "reverse" and source == "data":
                continue
            for repeat in range(REPEATS if estimate in ("probes", "bound") else 1):
                error = 0.0 if estimate == "reference" else bias[estimate]
                chance = noise * rng.standard_normal(COUNT) * (estimate != "reference")
                parts.append(
                    {
                        "source": np.full(COUNT, source),
                        "picture": np.asarray([f"d{index}" for index in range(COUNT)]),
                        "estimate": np.full(COUNT, estimate),
                        "repeat": np.full(COUNT, float(repeat)),
                        "size": np.full(COUNT, SIZE),
                        "value": truth + error + chance,
                        "standard_error": np.full(COUNT, stated),
                        "evaluations": np.full(COUNT, 65.0),
                        "tangents": np.full(COUNT, 130.0),
                    }
                )
    return tables.concatenate(parts)


def verdicts(**found):
    claims = estimators.read(estimators.Settings(), found).claims
    return [claim.verdict.split(" (")[0] for claim in claims]


@pytest.mark.slow
def test_estimates_that_behave_hold():
    assert set(verdicts(a=made(), b=made(seed=1))) == {"holds"}


@pytest.mark.slow
def test_each_fault_is_found():
    off = made(probes=1.0, bound=3.0, reverse=-3.0, stated=3.0)
    two, below, above, ranks, errors = verdicts(a=off)
    assert {two, below, above, errors} == {"does not hold here"}
    assert ranks == "holds"
    *_, ranks, _, alike = verdicts(a=made(noise=60.0), b=made(shuffled=True, noise=60.0, seed=2))
    assert {ranks, alike} == {"does not hold here"}


def test_models_of_other_data_are_not_compared():
    others = made()
    others["picture"] = np.char.replace(others["picture"], "d", "e")
    assert not estimators._families({"a": made(), "b": others})
    assert len(estimators._families({"a": made(), "b": made(seed=1)})) == 1


def test_an_error_in_proportion_to_the_step_is_removed():
    step, limit = 0.1, 2.0
    fine, coarse = (np.full(8, limit + 5.0 * size) for size in (step, estimators.COARSER * step))
    np.testing.assert_allclose(estimators.continued(fine, coarse), limit)


def test_order_of_an_error_that_leaves_nothing():
    fine, coarse = (np.full(8, 5.0 * size**0.8) for size in (0.1, estimators.COARSER * 0.1))
    np.testing.assert_allclose(estimators._order(fine, coarse), 0.8)
    assert np.isnan(estimators._order(-fine, coarse))


@pytest.mark.parametrize("ties", [False, True])
def test_kendall_is_that_of_scipy(ties):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40)).cumsum(axis=1)
    if ties:
        a, b = a.round(), b.round()
    np.testing.assert_allclose(estimators.kendall(a, b), stats.kendalltau(a, b).statistic)


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_rows_of_a_model():
    settings = estimators.Settings({"spiral2d": 8}, steps=16, sde_steps=16, levels=8)
    rows = estimators.measure(settings, "spiral2d")
    # Data: yardstick and two estimates; samples: the reverse SDE's too; coarse: only that.
    assert len(rows["value"]) == 8 * ((1 + 4) + (1 + 1 + 4) + (1 + 1))
    assert len(estimators.read(settings, {"spiral2d": rows}).claims) == 5


@pytest.mark.slow
def test_the_reverse_sde_is_judged_by_what_it_brings_along():
    """Not by the log p that encoding finds, which is the yardstick's own."""
    settings = estimates.Settings(
        models={"spiral2d": 8}, steps=16, sde_steps=16, levels=8, replicates=2, repeats=1
    )
    table = estimates.measure(settings, "spiral2d")
    own = tables.where(table, source="samples", estimate="reverse")
    yardstick = tables.where(table, source="samples", estimate="reference")
    assert (own["evaluations"] == 16).all()
    assert (own["tangents"] == 0).all()
    assert (own["standard_error"] == 0).all()
    assert (np.abs(own["value"] - yardstick["value"]) > 1e-3).all()
    again = tables.from_csv(tables.to_csv(table))
    assert again["value"].dtype.kind == "f"
