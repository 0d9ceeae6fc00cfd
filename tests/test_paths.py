"""Paths: the table of alpha, sigma and drift, and what ties them together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS

import densityguide as dg

LEVELS = np.linspace(-20.0, 20.0, 81)
TABLE = {  # alpha, sigma, d log alpha / d log_snr
    "vp": (
        lambda t: (1 / (1 + np.exp(-t))) ** 0.5,
        lambda t: (1 / (1 + np.exp(t))) ** 0.5,
        lambda t: 0.5 / (1 + np.exp(t)),
    ),
    "ve": (np.ones_like, lambda t: np.exp(-t / 2), np.zeros_like),
    "linear": (
        lambda t: 1 / (1 + np.exp(-t / 2)),
        lambda t: 1 / (1 + np.exp(t / 2)),
        lambda t: 0.5 / (1 + np.exp(t / 2)),
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_table(name):
    path, (alpha, sigma, drift) = PATHS[name], TABLE[name]
    np.testing.assert_allclose(path.alpha(LEVELS), alpha(LEVELS), rtol=1e-13)
    np.testing.assert_allclose(path.sigma(LEVELS), sigma(LEVELS), rtol=1e-13)
    np.testing.assert_allclose(path.drift(LEVELS), drift(LEVELS), rtol=1e-13)


@pytest.mark.parametrize("name", PATHS)
def test_clock_is_the_log_snr_and_diffusion_is_sigma(name):
    path = PATHS[name]
    log_snr = 2.0 * (path.log_alpha(LEVELS) - path.log_sigma(LEVELS))
    np.testing.assert_allclose(log_snr, LEVELS, rtol=1e-13, atol=1e-13)

    # Forward noising with drift f and diffusion g keeps x = alpha x0 + sigma eps only if
    # d sigma^2 / dt - 2 f sigma^2 = -g^2, and g = sigma.
    def variance(t):
        return path.sigma(t) ** 2

    slope = jax.vmap(jax.grad(variance))(jnp.asarray(LEVELS))
    left = slope - 2.0 * path.drift(LEVELS) * variance(LEVELS)
    np.testing.assert_allclose(left, -variance(LEVELS), rtol=1e-12)


@pytest.mark.parametrize("name", PATHS)
def test_single_precision_holds_at_both_ends(name):
    path, (alpha, sigma, drift) = PATHS[name], TABLE[name]
    levels = jnp.asarray([-20.0, -12.0, 0.0, 12.0, 20.0], jnp.float32)
    exact = np.asarray(levels, np.float64)
    for ours, truth in ((path.alpha, alpha), (path.sigma, sigma), (path.drift, drift)):
        value = ours(levels)
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(value, truth(exact), rtol=1e-5, atol=1e-30)


def test_paths_compare_by_value():
    assert dg.paths.linear() == dg.paths.linear()
    assert hash(dg.paths.linear()) == hash(dg.paths.linear())
    assert [PATHS[n].preserves_variance for n in ("vp", "ve", "linear")] == [True, False, False]
