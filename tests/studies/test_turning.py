"""The dial, its measures of detail, and pictures from elsewhere, where the answer is known."""

from pathlib import Path

import numpy as np
import pytest

from densityguide.data import fashion
from studies.evidence import dial, elsewhere, measures, outside, subjects, tables

RNG = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures("few_draws")


def picture(high, size=16):
    """Grey, with a checkerboard of this height."""
    board = np.indices((size, size)).sum(axis=0) % 2
    return (100 + high * board).astype(np.uint8)[..., None]


def test_every_measure_grows_with_detail():
    noise = RNG.integers(0, 256, (16, 16, 1)).astype(np.uint8)
    soft = np.full((16, 16, 1), 128, np.uint8)
    plain, busy = (measures.of(one[None], 256) for one in (soft, noise))
    for name in measures.MEASURES:
        assert busy[name][0] > plain[name][0], name


def test_closed_forms_of_measures():
    # Every block of 2x2 holds two of each: its variance is a quarter of the squared height.
    assert measures.wavelets(picture(51), 256) == pytest.approx((51 / 255) ** 2 / 4)
    step = np.zeros((8, 8, 3), np.uint8)
    step[:, 4:] = 255
    assert measures.edges(step, 256) == pytest.approx(2 / 8)  # the two columns beside the step
    # The slope is the central difference: a step of h, over two pixels, is an edge from h = 0.2 on.
    for height, share in ((50, 0.0), (52, 2 / 8)):
        assert measures.edges((step // 255) * np.uint8(height), 256) == share


def turned(rise, fall):
    """Rows of 40 latents at three q: log p rises throughout where ``rise`` and turns back at the
    end elsewhere; detail falls where ``fall``."""
    q, count = np.asarray([0.1, 0.5, 0.9]), 40
    last, down = np.where(rise, 0.9, 0.4), np.where(fall, -1.0, 1.0)
    log_p = np.stack([np.full(count, 0.1), np.full(count, 0.5), last], axis=1)
    columns = {"latent": np.repeat(np.arange(count), 3), "q": np.tile(q, count)}
    columns["log_density"] = log_p.ravel() + 100.0 * columns["latent"]
    columns |= {"tracked": columns["log_density"], "size": np.full(3 * count, 64.0)}
    columns["total_error"] = np.full(3 * count, 0.3)
    detail = (down[:, None] * q).ravel() + 10.0 * columns["latent"]
    columns |= dict.fromkeys(measures.MEASURES, detail)
    mixed = RNG.permutation(3 * count)
    return {name: np.asarray(column, float)[mixed] for name, column in columns.items()}


@pytest.mark.parametrize(
    ("up", "down", "words"),
    [
        (40, 40, ["holds", "holds"]),
        (34, 40, ["does not hold here", "holds"]),  # 85 %, but hardly above 70 % for certain
        (40, 20, ["holds", "does not hold here"]),
    ],
)
def test_the_dial_is_judged_latent_by_latent(up, down, words):
    among = np.arange(40)
    reading = dial.read(dial.Settings(), {"digits8": turned(among < up, among < down)})
    assert [claim.verdict.split(" (")[0] for claim in reading.claims] == words


def test_a_rise_counts_as_sure_where_it_exceeds_both_its_bars():
    """All rises are 0.4."""
    table = turned(np.full(40, True), np.full(40, True))
    for bar, sure in ((0.2, 40), (0.3, 0)):  # sqrt 2 of them: 0.28 and 0.42
        assert dial._beyond(table | {"total_error": np.full(120, bar)}) == f"{sure} of 40"
    wide = np.where((table["latent"] < 6) & (table["q"] == 0.9), 1.0, 0.01)
    assert dial._beyond(table | {"total_error": wide}) == "34 of 40"


def test_what_is_gained_along_the_dial_is_that_of_each_latent():
    """Against its own sample at q = 0.5, in bits/dim: offsets between latents are no spread."""
    table = turned(np.arange(40) < 34, np.full(40, True))
    q, ends = dial._gain(table)
    np.testing.assert_array_equal(q, [0.1, 0.5, 0.9])
    mean = (34 * 0.4 + 6 * -0.1) / 40
    nats = np.asarray([[-0.4, -0.4, -0.4], [0.0, 0.0, 0.0], [mean, -0.1, 0.4]])
    np.testing.assert_allclose(ends, nats / (64.0 * np.log(2.0)), atol=1e-9)


def test_areas_under_the_curve():
    own = RNG.normal(size=100)
    assert outside.detect(own, own + 100.0).value == 1.0
    assert outside.detect(own, own - 100.0).value == 0.0
    pairs = np.mean((own + 1.0)[:, None] > own)
    assert outside.detect(own, own + 1.0).value == pytest.approx(pairs)
    apart = outside.detect(own, RNG.normal(size=100) + 1.0)
    # Normal with unit spread, one apart: Phi(1 / sqrt 2).
    assert apart.low < 0.7602 < apart.high


def test_boxes_are_of_held_out_and_strange_pictures_in_bits():
    sets = np.repeat([outside.TRAIN, "noise", outside.OWN], 2)
    log_p = np.asarray([9.0, 9.0, -2.0, -4.0, 1.0, 3.0])
    found = outside._bits({"set": sets, "log_density": log_p, "size": np.full(6, 4.0)})
    assert list(found) == [outside.OWN, "noise"]
    unit = 4.0 * np.log(2.0)
    np.testing.assert_allclose(found[outside.OWN], np.asarray([1.0, 3.0]) / unit)
    np.testing.assert_allclose(found["noise"], np.asarray([-2.0, -4.0]) / unit)


def rows(**of):
    """A table of sets, each with this mean of log p; h and alignment tell nothing."""
    parts = []
    for name, mean in of.items():
        n = 60
        row = {"set": np.full(n, name), "size": np.full(n, 64.0)}
        row["log_density"] = mean + RNG.normal(size=n)
        parts.append(row | {"h": RNG.normal(size=n), "alignment": RNG.normal(size=n)})
    return tables.concatenate(parts)


def test_the_paradox_is_seen():
    sets = {outside.OWN: 0.0, outside.TRAIN: 0.0, "blurred": 30.0, "noise": -30.0}
    reading = outside.read(outside.Settings(), {"digits8": rows(**sets)})
    found = [claim.verdict for claim in reading.claims]
    assert found[0] == "holds with limits (1 of 2)"  # of noise only
    assert found[1] == "holds (2 of 2)"  # both are far from what is typical
    assert found[2] == "does not hold here (0 of 2)"
    assert found[3] == "does not hold here (0 of 2)"
    assert found[4] == "holds (1 of 1)"


@pytest.mark.slow
@pytest.mark.skipif(not Path(fashion.FOLDER).is_dir(), reason="dataset-fashion-mnist not installed")
def test_pictures_from_elsewhere_keep_to_the_models_own_shape():
    subject = subjects.load("digits8")
    own = subject.heldout(12)
    found = elsewhere.sets(subject, 12, 0)
    for name, images in found.items():
        assert images.shape == own.shape, name
        assert images.dtype == np.uint8
        assert images.max() < subject.levels
    mixed = found["pixels in another order"]
    np.testing.assert_array_equal(np.sort(mixed.ravel()), np.sort(own.ravel()))
    assert (mixed != own).any()
    assert np.ptp(found["plain"], axis=(1, 2, 3)).max() == 0


def test_resizing_keeps_the_ends_of_the_range():
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[1] = 255
    fitted = elsewhere.fitted(images, 256, (4, 6, 1), 17)
    assert fitted.shape == (2, 4, 6, 1)
    assert (fitted[0] == 0).all()
    assert (fitted[1] == 16).all()


def test_the_dial_is_asked_inside_the_range_of_its_card(monkeypatch):
    flow = subjects.load("digits8-flow").flow
    low, high = dial.reach(flow)
    assert (low, high) == tuple(np.asarray(flow.calibration.dial, float).round(6))
    assert dial.reach(flow.replace(calibration=None)) == (0.0, 1.0)
    asked = []

    def each(subject, fn, keys, q):
        asked.append(round(float(q[0]), 6))
        return np.zeros((len(keys), *flow.shape)), *np.zeros((3, len(keys)))

    monkeypatch.setattr(subjects.Subject, "each", each)
    beyond = (low / 2, low, 0.5, high, high + 0.01)
    dial.measure(dial.Settings({"digits8-flow": 8}, q=beyond), "digits8-flow")
    assert asked == [low, 0.5, high]
