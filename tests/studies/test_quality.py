"""Quality of sets: known distances of known sets, and claims that follow from rows."""

import dataclasses

import jax
import numpy as np
import pytest

import densityguide as dg
from densityguide.steer import sample as sampling
from studies.evidence import (
    compared,
    distances,
    equal,
    features,
    judge,
    quality,
    statistics,
    subjects,
    tables,
)
from studies.evidence.curves import between, curve
from studies.evidence.samplers import samplers

RNG = np.random.default_rng(0)


def directions(size, count=4000):
    lines = RNG.normal(size=(size, count))
    return lines / np.linalg.norm(lines, axis=0)


def test_sliced_distance_of_a_shift_is_its_length_seen_from_all_sides():
    points, lines = RNG.normal(size=(40, 3)), directions(3)
    assert distances.sliced(points, points[::-1], lines) == 0.0
    shift = np.array([2.0, -1.0, 2.0])
    found = distances.sliced(points, points + shift, lines)
    assert found == pytest.approx(np.sqrt(np.mean((shift @ lines) ** 2)))
    assert found == pytest.approx(3.0 / 3**0.5, rel=0.05)


def test_kernel_distance_is_unbiased_and_rises_with_a_shift():
    found = [distances.kernel(*RNG.normal(size=(2, 20, 4))) for _ in range(2000)]
    assert abs(np.mean(found)) < 4 * np.std(found) / len(found) ** 0.5
    one, two = RNG.normal(size=(2, 400, 4))
    values = [distances.kernel(one, two + shift) for shift in (0.0, 0.5, 1.0)]
    assert values[0] < values[1] < values[2]


def test_precision_and_recall_tell_a_lost_mode_from_a_strange_one():
    left, right, far = (RNG.normal(size=(60, 2)) + centre for centre in (0.0, 20.0, 99.0))
    both = np.concatenate([left, right])
    assert distances.precision_recall(both, both) == (1.0, 1.0)
    assert distances.precision_recall(far, both) == (0.0, 0.0)
    precision, recall = distances.precision_recall(left, both)
    assert precision == 1.0
    assert 0.5 <= recall < 0.52
    precision, recall = distances.precision_recall(np.concatenate([both, far]), both)
    assert precision == pytest.approx(2 / 3)
    assert recall == 1.0


def test_nearest_counts_copies():
    data = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(distances.nearest(np.array([[0.0, 0.0], [6.0, 8.0]]), data), [0, 5])


def test_rotating_into_fewer_coordinates_changes_no_measure():
    points, data, lines = RNG.normal(size=(6, 50)), RNG.normal(size=(7, 50)), directions(50, 9)
    one, (two,), seen = judge._rotated(points, [data[:6]], lines)
    assert one.shape == (6, 12)
    before = judge._compare(points, data[:6], lines, 50)
    np.testing.assert_allclose(judge._compare(one, two, seen, 50), before)


@pytest.mark.slow
def test_rotations_are_told_where_pictures_have_an_upper_half():
    images = RNG.integers(0, 40, (200, 4, 4, 1))
    images[:, :2] += 200
    told = features.train(*features.turned(images[:100]), 256, 0, "rotations")
    unseen, quarters = features.turned(images[100:])
    assert told.accuracy(unseen, quarters) > 0.95
    assert told.accuracy(unseen, (quarters + 1) % 4) < 0.05
    assert told.features(images).shape == (200, features.HIDDEN)


def test_the_spread_of_random_halves_is_the_standard_error_of_the_mean():
    values = RNG.normal(size=200)
    halves = [RNG.permutation(values)[:100].mean() for _ in range(4000)]
    interval = statistics.halves(values.mean(), np.asarray(halves))
    expected = 1.96 * values.std(ddof=1) / 200**0.5
    assert interval.high - interval.value == pytest.approx(expected, rel=0.05)


CELLS = {
    "held-out data": [(0.0, 0.0)],
    "plain": [(1.0, 0.0)],
    "prior": [(0.9, 20.0), (1.1, -20.0)],
    "density": [(0.4, -25.0), (0.6, 25.0)],
    "high": [(2.0, 60.0)],
    "target": [(-1.0, -10.0), (1.0, 10.0)],
}


def rows(spread=1.0, sliced=0.0, lost=0.0, reached=0.0):
    """Made-up cells: density guidance with this much of the spread and more sliced distance than
    prior guidance, recall lost and nats reached by high-density sampling."""
    found = []
    for method, cells in CELLS.items():
        for dial, log_p in cells:
            for draw in range(9):
                noise = 1e-3 * (-1) ** draw * (draw > 0)
                high, guided = method == "high", method in ("density", "target")
                row = {
                    "method": method,
                    "dial": dial,
                    "draw": float(draw),
                    "log_density": log_p + reached * high + noise,
                    "spread": 10.0 * (spread if guided else 1.0) + noise,
                    "accuracy": 0.7,
                    "classes": 4.0,
                }
                row["bytes"] = 500.0 - abs(log_p - 5.0)  # largest near the middle, not at it
                row |= dict.fromkeys(("evaluations", "tangents", "unmet", "failed"), 0.0)
                row["nearest"] = 1.0
                for space in ("pixels", "features"):
                    row[f"sliced {space}"] = 1.0 + noise + sliced * (method == "density")
                    row[f"kernel {space}"] = noise
                    row[f"precision {space}"] = 0.9 + noise
                    row[f"recall {space}"] = 0.8 - lost * high + noise
                found.append(row)
    return tables.from_rows(found)


def test_methods_are_compared_where_both_have_been():
    table = rows(sliced=0.5)
    one, two = (
        curve(table, ("density",), "sliced pixels"),
        curve(table, ("prior",), "sliced pixels"),
    )
    assert between(one, two).value == pytest.approx(0.5)
    assert between(one, one) == (0.0, 0.0, 0.0)
    assert not np.isfinite(between(one, curve(table, ("high",), "sliced pixels")).value)


def test_claims_follow_from_the_rows():
    settings = quality.Settings({"digits8": 8})
    good = quality.read(settings, {"digits8": rows(spread=0.5, lost=0.4)})
    assert [claim.verdict.split(" (")[0] for claim in good.claims] == ["holds"] * 5
    bad = quality.read(settings, {"digits8": rows(spread=1.1, sliced=1.0, reached=-50.0)})
    assert (
        bad.claims[0].verdict.split(" (")[0] == "holds with limits"
    )  # precision and recall are as they were
    assert [claim.verdict.split(" (")[0] for claim in bad.claims[1:]] == ["does not hold here"] * 4
    assert len(good.sections[-1].rows) == sum(map(len, CELLS.values()))


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_two_dimensions_from_end_to_end():
    settings = quality.Settings({"spiral2d": 16}, steps=16, draws=4)
    settings = dataclasses.replace(settings, factors=(0.9,), q=(0.6,), switches=(2.0,))
    table = tables.from_csv(tables.to_csv(quality.measure(settings, "spiral2d")))
    assert len(table["draw"]) == 7 * 5
    assert np.isfinite(table["log_density"]).all()
    assert len(quality.read(settings, {"spiral2d": table}).claims) == 5


def test_equal_detail_is_judged_on_either_side_of_the_plain_model():
    """Sizes rise and fall along the dial: those of one side do not stand for the other's."""
    table = rows()
    side = curve(table, ("density", "plain"), "recall features", "bytes", side=1)
    np.testing.assert_allclose(side.places[0], [480.0, 495.0])
    less = curve(table, ("density", "plain"), "recall features", "bytes", side=-1)
    np.testing.assert_allclose(less.places[0], [470.0, 495.0])
    found = {"digits8": rows(sliced=1.0)}
    claim = compared.no_worse_at_equal_detail(found, "density", "prior", 1, "toy")
    assert claim.verdict == "holds with limits (2 of 3)"
    worse = dict(table)
    lower = 0.3 * (table["method"] == "density")  # recall is lost, precision gained
    worse["recall features"] = table["recall features"] - lower
    worse["precision features"] = table["precision features"] + lower
    claim = compared.no_worse({"digits8": worse}, "density", "prior", "toy")
    assert claim.verdict == "holds with limits (2 of 3)"
    assert "recall, -0.3" in claim.found
    claim = compared.no_worse({"digits8": table}, "density", "high", "toy")
    assert claim.verdict == "not measured here"
    assert "3 more have no log p in common" in claim.found


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_equal_detail_from_end_to_end():
    """But for landing, whose tests are elsewhere and which is dear to compile."""
    settings = equal.Settings(
        {"digits8-class": 8}, steps=4, draws=4, landings=(), scales=(1.0, 3.0)
    )
    settings = dataclasses.replace(settings, factors=(0.9,), q=(0.6,), calibrated=(0.6,))
    table = tables.from_csv(tables.to_csv(equal.measure(settings, "digits8-class")))
    assert len(table["draw"]) == (2 + 3 + 2) * 5
    assert np.isfinite(table["bytes"]).all()
    assert np.isfinite(table["log_density"]).all()
    told = tables.where(table, method="class", draw=0.0)
    assert told["log_density"][0] != told["log_density"][1]
    flow, key = subjects.load("digits8-class").flow, jax.random.key(0)
    x, by_class = sampling.latent(flow, key), samplers(4, dg.exact())["class"]
    one = by_class(flow, x, key, 1.0, 3).x
    with pytest.warns(UserWarning, match="calibration belongs to its old condition"):
        told = flow.given(3)
    np.testing.assert_allclose(one, sampling.sample(told, x, divergence=None, steps=4).x, atol=1e-5)
    reading = equal.read(settings, {"digits8-class": table})
    assert len(reading.claims) == 5
    assert len(reading.sections[-1].rows) == 7
