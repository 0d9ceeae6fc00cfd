import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide.flow import paths
from densityguide.training.evaluate import denoising_report, nearest, nearest_report
from densityguide.training.linear import fit_linear
from densityguide.training.preview import preview

PATH = paths.variance_preserving()


def gaussian(key, count, dims=6):
    mix = jax.random.normal(jax.random.key(77), (dims, dims)) / np.sqrt(dims)
    return 0.5 + jax.random.normal(key, (count, dims)) @ mix.T, mix @ mix.T


@pytest.mark.parametrize("level", [-4.0, 0.0, 4.0])
def test_linear_denoiser_is_the_posterior_mean_of_gaussian_data(level):
    data, _ = gaussian(jax.random.key(0), 4000)
    fitted = fit_linear(data)
    alpha, sigma = PATH.alpha(level), PATH.sigma(level)
    x = jax.random.normal(jax.random.key(1), (7, 6))
    mean, cov = data.mean(0), jnp.cov(data.T, bias=True)
    gain = alpha * cov @ jnp.linalg.inv(alpha**2 * cov + sigma**2 * jnp.eye(6))
    expected = mean + (x - alpha * mean) @ gain.T
    np.testing.assert_allclose(fitted.denoise(x, alpha, sigma), expected, rtol=2e-3, atol=2e-3)


def test_exact_gaussian_denoiser_has_ratio_one():
    train, cov = gaussian(jax.random.key(0), 20000)
    heldout, _ = gaussian(jax.random.key(1), 2000)
    mean = 0.5 * jnp.ones(6)

    def exact(x, t):
        a, s = PATH.alpha(t), PATH.sigma(t)
        return mean + a * cov @ jnp.linalg.solve(a**2 * cov + s**2 * jnp.eye(6), x - a * mean)

    rows = denoising_report(exact, PATH, train, heldout, jax.random.key(2), levels=(-3.0, 0.0, 3.0))
    for row in rows:
        np.testing.assert_allclose(row["ratio"], 1.0, atol=0.02)
        a, s = PATH.alpha(row["log_snr"]), PATH.sigma(row["log_snr"])
        np.testing.assert_allclose(row["linear"], fit_linear(train).error(a, s), rtol=0.1)


def test_nearest_distances():
    train = np.zeros((3, 2, 2, 1)) + np.arange(3).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(nearest(train[1:2] + 0.25, train), [0.25])
    report = nearest_report(train, train + 0.4, train)
    assert report["copies"] == 1.0
    assert report["samples_p50"] == 0.0


def test_preview_maps_gaussians_exactly():
    # Data N(m, v): the flow is linear, and the denoised end is known in closed form.
    mean, variance = 0.3, 0.25

    def score(x, t):
        a, s = PATH.alpha(t), PATH.sigma(t)
        return -(x - a * mean) / (a**2 * variance + s**2)

    key, ends = jax.random.key(0), (-9.0, 8.0)
    found = preview(score, PATH, ends, (4,), key, count=3, steps=400)
    low, high = (jnp.asarray(t) for t in ends)

    def spread(t):
        return jnp.sqrt(PATH.alpha(t) ** 2 * variance + PATH.sigma(t) ** 2)

    start = PATH.sigma(low) * jax.random.normal(key, (3, 4))
    end = PATH.alpha(high) * mean + (start - PATH.alpha(low) * mean) * spread(high) / spread(low)
    expected = (end + PATH.sigma(high) ** 2 * score(end, high)) / PATH.alpha(high)
    np.testing.assert_allclose(found, expected, atol=1e-3)
