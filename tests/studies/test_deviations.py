"""The size of deviations: what is noise does not count."""

import numpy as np

from studies.evidence import deviations


def test_noise_is_taken_off_and_never_below_zero():
    rng = np.random.default_rng(0)
    noise = np.full(200_000, 0.5)
    error = 0.3 + noise * rng.standard_normal(len(noise))
    np.testing.assert_allclose(deviations.root_mean_square(error, noise), 0.3, atol=0.01)
    assert deviations.root_mean_square(np.zeros(8), np.ones(8)) == 0.0


def test_the_interval_holds_the_root_mean_square_and_shrinks():
    rng = np.random.default_rng(1)
    few, many = (deviations.interval(rng.standard_normal(n)) for n in (200, 20_000))
    for found in (few, many):
        assert found.low < 1.0 < found.high
    assert many.high - many.low < few.high - few.low


def test_one_bit_per_dimension():
    np.testing.assert_allclose(deviations.bits(np.log(2.0) * 12, 12), 1.0)
