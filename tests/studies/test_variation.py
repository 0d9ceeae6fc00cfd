"""Variances by frequency, and claims that follow from rows."""

import numpy as np
import pytest

from studies.evidence import tables, variation

pytestmark = pytest.mark.usefixtures("few_draws")

RNG = np.random.default_rng(0)


def test_the_two_bands_are_the_mean_square_and_each_wave_is_in_one():
    pictures = RNG.normal(size=(5, 8, 8, 3))
    low, high = variation.bands(pictures, 0.125)
    np.testing.assert_allclose(low + high, (pictures**2).mean((1, 2, 3)))
    across = np.arange(8)
    for cycles, band in ((0, 0), (1, 0), (2, 1), (4, 1)):
        wave = np.cos(2 * np.pi * cycles * across / 8)[None, :, None] * np.ones((8, 1, 1))
        found = variation.bands(wave, 0.125)
        assert found[1 - band] == pytest.approx(0.0, abs=1e-12)
        assert found[band] == pytest.approx(np.mean(wave**2))


def test_white_noise_fills_bands_by_their_share_of_frequencies():
    low, high = variation.bands(RNG.normal(size=(4000, 8, 8, 1)), 0.125)
    assert low.mean() == pytest.approx(5 / 64, rel=0.05)  # 0 and four neighbours
    assert high.mean() == pytest.approx(59 / 64, rel=0.05)


def rows(detail, kept, published, count=12):
    """Late noise with this share of detail, log p kept this well, and the published form so much
    further from the target than ours."""
    found = []
    for method in variation.METHODS:
        for _ in range(count):
            noise = RNG.uniform(0.9, 1.1)
            spread = {"full": kept, "published": kept * published}.get(method, 1.0)
            row = {"method": method, "low": noise, "high": noise, "log_p": (spread * noise) ** 2}
            row["high"] *= {"late": detail, "early": 1.0 / detail}.get(method, 1.0)
            row |= {"tracked": row["log_p"], "encoded": row["log_p"]}
            found.append(row | {"evaluations": 64.0, "tangents": 0.0, "failed": 0.0})
    return tables.from_rows(found)


@pytest.mark.slow
def test_claims_follow_from_the_rows():
    settings = variation.Settings({"digits8": 12})
    good = variation.read(settings, {"digits8": rows(3.0, 0.1, 2.0)})
    assert [claim.verdict.split(" (")[0] for claim in good.claims] == ["holds"] * 4
    bad = variation.read(settings, {"digits8": rows(0.5, 0.9, 0.5)})
    assert [claim.verdict.split(" (")[0] for claim in bad.claims] == ["does not hold here"] * 4
    assert len(good.sections[-1].rows) == len(variation.METHODS)


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_two_dimensions_from_end_to_end():
    settings = variation.Settings({"spiral2d": 8}, steps=16, keys=2, independent=2)
    table = tables.from_csv(tables.to_csv(variation.measure(settings, "spiral2d")))
    assert len(table["method"]) == 8 * (len(variation.METHODS) + 1)
    assert np.isfinite(table["log_p"][table["method"] != "none"]).all()
    assert len(variation.read(settings, {"spiral2d": table}).sections) == 1
