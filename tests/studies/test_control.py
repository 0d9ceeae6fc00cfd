"""Control error: what the rules say of rows that are right and of rows that are not."""

import numpy as np
import pytest

import densityguide as dg
from studies.evidence import control, tables

pytestmark = pytest.mark.usefixtures("few_draws")

SIZE = 64.0


def made(gap=0.0, noise=0.0, lands=0.0, status=0):
    """Rows of all methods whose encoded log p misses by ``gap`` bits/dim, and tracked by
    ``lands``."""
    rng = np.random.default_rng(0)
    parts = []
    requests = [("plain", 0.5), ("quantile", 0.3), ("match", 50.0), ("finer", 50.0)]
    requests += [(name, p) for name in ("target", "land") for p in (5.0, 50.0, 95.0)]
    for method, request in requests:
        n, unit = 16, SIZE * np.log(2.0)
        natural = rng.normal(-100.0, 40.0, n)
        requested = natural if method in ("plain", "quantile") else np.full(n, -100.0)
        tracked = requested + lands * unit * (method not in ("plain", "quantile"))
        measured = noise * unit * rng.standard_normal(n)
        parts.append(
            {
                "method": np.full(n, method),
                "request": np.full(n, request),
                "size": np.full(n, SIZE),
                "requested": requested,
                "tracked": tracked,
                "encoded": requested + gap * unit * rng.choice([-1, 1], n) + measured,
                "noise": np.full(n, noise * unit),
                "natural": natural,
                "unmet": np.zeros(n),
                "status": np.full(n, status),
            }
        )
    return tables.concatenate(parts)


def verdicts(**options):
    reading = control.read(control.Settings(), {"digits8": made(**options)})
    return [claim.verdict.split(" (")[0] for claim in reading.claims]


@pytest.mark.slow
def test_what_agrees_holds():
    assert set(verdicts(gap=1e-3)) == {"holds"}


@pytest.mark.slow
def test_what_does_not_agree_does_not_hold():
    landed, *rest = verdicts(gap=0.3)
    assert landed == "holds"
    assert set(rest) == {"does not hold here"}


@pytest.mark.slow
def test_a_target_that_does_not_land_is_told_from_a_score_that_is_wrong():
    landed, agrees, *_ = verdicts(gap=1e-3, lands=0.02)
    assert (landed, agrees) == ("does not hold here", "holds")


@pytest.mark.slow
def test_steps_that_are_too_few_are_said():
    """Beside the largest error, which may then be the solver's."""
    rows = made()
    chosen = rows["method"] == "quantile"
    for share, said in ((10, True), (8, False)):
        few = np.flatnonzero(chosen)[:share]
        rows["status"] = np.zeros(len(chosen), int)
        rows["status"][few] = int(dg.Status.COARSE)
        claims = control.read(control.Settings(), {"digits8": rows}).claims
        assert ("most samples of digits8, q = 0.3 are coarse" in claims[6].found) is said
        assert "coarse" not in claims[0].found


@pytest.mark.slow
def test_a_failed_sample_is_no_success():
    rows = made()
    rows["encoded"][rows["method"] == "target"] = np.nan
    claims = control.read(control.Settings(), {"digits8": rows}).claims
    assert (
        claims[1].verdict.split(" (")[0] == claims[2].verdict.split(" (")[0] == "does not hold here"
    )


@pytest.mark.slow
def test_where_no_scale_has_the_requested_log_p():
    rows = made()
    missing = rows["method"] == "match"
    rows["status"][missing] = 16
    rows["encoded"][missing] += 100.0
    claims = control.read(control.Settings(), {"digits8": rows}).claims
    assert claims[5].verdict.split(" (")[0] == "does not hold here"
    assert "16 of 16 had no root" in claims[5].found


def test_arriving_is_the_slope():
    push = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(control.arriving(push, 0.7 * push), 0.7)


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_rows_of_a_model():
    settings = control.Settings(
        {"spiral2d": 8}, steps=16, natural=16, landed=2, matched=3, quantiles=(0.6,)
    )
    rows = control.measure(settings, "spiral2d")
    assert len(rows["method"]) == 16 + 8 + (3 + 1) * 8 + 3 * 2 + 3
    assert len(control.read(settings, {"spiral2d": rows}).claims) == 7


@pytest.mark.parametrize(("gap", "holds"), [(1e-3, True), (0.04, False)])
def test_the_noise_of_probes_fails_no_landing_and_hides_no_miss(gap, holds):
    """Also where every sample's own standard error is that of two probes: wrong by a factor."""
    landed = tables.where(made(gap=gap, noise=0.006), method="land")
    chi = np.abs(np.random.default_rng(1).standard_normal(len(landed["noise"])))
    landed["noise"] = landed["noise"] * chi
    assert control._near({"digits8": landed}).verdict.startswith("holds") == holds
