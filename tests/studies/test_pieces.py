"""Tables, intervals, and what detail and alignment are measured by."""

import jax
import numpy as np
import pytest
from scipy import stats

import densityguide as dg
from studies.evidence import alignment, detail, measures, nominal, statistics, study, tables


def test_tables_come_back():
    rows = [{"name": "a, b", "value": 1.5}, {"name": 'c"', "value": float("nan")}]
    table = tables.from_rows(rows)
    back = tables.from_csv(tables.to_csv(table))
    assert list(back["name"]) == ["a, b", 'c"']
    np.testing.assert_array_equal(back["value"], table["value"])
    assert len(tables.where(back, name="a, b")["value"]) == 1
    float32 = {"x": np.random.default_rng(0).normal(size=50).astype(np.float32)}
    again = tables.from_csv(tables.to_csv(float32))["x"]
    np.testing.assert_allclose(again, float32["x"], rtol=5e-7)


def test_a_bar_in_a_word_does_not_end_its_cell():
    table = tables.markdown(("name", "|h|"), [["a | b", 1.0]])
    assert table.splitlines() == ["| name | \\|h\\| |", "| :-- | --: |", "| a \\| b | 1 |"]


def test_cells():
    assert [tables.cell(value) for value in (0.12345, 12345.6, "word", np.nan)] == [
        "0.123",
        "12,346",
        "word",
        "-",
    ]


def test_bootstrap_is_as_wide_as_normal_theory_says():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = statistics.mean(values)
    half = 1.96 * values.std(ddof=1) / 20.0
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(half, rel=0.15)
    assert found.value - found.low == pytest.approx(half, rel=0.15)


def test_bootstrap_leaves_out_what_is_not_finite_and_keeps_pairs():
    a = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0])
    found = statistics.bootstrap(lambda x, y: float(np.max(np.abs(x - y))), a, a)
    assert found == (0.0, 0.0, 0.0)
    assert np.isnan(statistics.mean(np.full(4, np.nan)).value)


def test_neighbours():
    generator = np.random.default_rng(0)
    points, others = generator.normal(size=(70, 3)), generator.normal(size=(90, 3))
    distance = np.sqrt(((points[:, None] - others) ** 2).sum(-1) / 3.0)
    found = detail.neighbour_distance(points, others)
    np.testing.assert_allclose(found, np.sort(distance, axis=1)[:, 4])
    # A point that is one of them is not its own neighbour.
    within = detail.neighbour_distance(others, others)
    between = np.sqrt(((others[:, None] - others) ** 2).sum(-1) / 3.0)
    np.testing.assert_allclose(within, np.sort(between, axis=1)[:, 5])


def test_total_variation():
    steps = np.arange(4) * 10
    ramp = np.broadcast_to(steps[:, None, None], (4, 6, 1))
    assert measures.total_variation(ramp, 101) == pytest.approx(0.1)
    assert measures.total_variation(np.full((4, 4, 3), 7), 256) == 0.0


@pytest.mark.parametrize("path", ["variance_preserving", "variance_exploding", "linear"])
def test_cosines_of_normal_data_are_those_of_its_flow(path):
    variances, mean = np.array([2.0, 0.5, 0.1]), np.array([0.5, -0.3, 0.2])
    noise = (-6.0, 4.0)
    flow = dg.worlds.gaussian(
        mean, np.diag(variances), path=getattr(dg.paths, path)(), log_snr=noise
    )
    latents = np.random.default_rng(2).normal(size=(5, 3))
    # The path's state is a multiple of the variance preserving one's, and its prior is, too.
    scale = float(flow.prior.scale)
    aligned = jax.vmap(lambda x: dg.score_alignment(flow, x, steps=256).cosine)(latents * scale)
    sigma = (1.0 + np.exp(noise[0])) ** -0.5
    expected = alignment.gaussian_cosines(variances, mean, latents * sigma, noise)
    np.testing.assert_allclose(aligned, expected, atol=2e-4)


def test_percentile():
    among = np.arange(101.0)
    assert nominal.percentile(np.array([50.0, 50.0]), among) == pytest.approx(0.5, abs=0.01)
    assert nominal.percentile(np.array([200.0]), among) == 1.0
    assert nominal.percentile(np.array([-1.0]), among) == 0.0


def made_detail(sign, seed=0):
    generator = np.random.default_rng(seed)
    value = generator.normal(size=80)
    noisy = {name: -sign * value + 0.1 * generator.normal(size=80) for name in detail.MEASURES}
    source = np.repeat(["data", "samples"], 40)
    return {"source": source, "log_density": value, "standard_error": value * 0} | noisy


def test_detail_is_judged_by_its_rows(monkeypatch):
    monkeypatch.setattr(statistics, "DRAWS", 100)
    settings = detail.Settings({"a": 40})
    fits, opposes = made_detail(1.0), made_detail(-1.0)
    (claim,) = detail.read(settings, {"a": fits}).claims
    assert claim.verdict.split(" (")[0] == "holds"
    (claim,) = detail.read(settings, {"a": opposes}).claims
    assert claim.verdict.split(" (")[0] == "does not hold here"
    (claim,) = detail.read(settings, {"a": fits, "b": opposes}).claims
    assert claim.verdict.split(" (")[0] == "holds with limits"
    plane = {name: fits[name] for name in fits if name not in detail.PICTURES}
    rows = detail.read(settings, {"a": fits, "plane": plane}).sections[0].rows
    assert rows[-1][3] == "no picture"


def test_size_of_h_is_that_of_the_values():
    generator = np.random.default_rng(3)
    h = 0.4 * generator.normal(size=4000)
    noise = generator.normal(size=(2, 4000))
    expected = stats.tstd(h)
    for first, second in ((h, h), (h + noise[0], h + noise[1])):  # exact, and two estimates
        rows = nominal._rows("h", 1.0, first, second)
        _, (found,) = nominal.sizes(rows)
        assert found.low < expected < found.high
        assert found.value == pytest.approx(expected, abs=0.05)
        shifted = (first + 2.0, second + 2.0)
        assert nominal._deviation(*shifted) == pytest.approx(expected, abs=0.05)
        assert nominal._centre(*shifted) == pytest.approx(2.0, abs=0.05)
        assert nominal._root(*shifted) == pytest.approx((4.0 + expected**2) ** 0.5, abs=0.1)


def test_verdicts_count():
    assert study.verdict([True, True]) == "holds (2 of 2)"
    assert study.verdict([True, False]) == "holds with limits (1 of 2)"
    assert study.verdict([True, False, False]) == "does not hold here (1 of 3)"
    assert study.verdict([]) == "not measured here"
