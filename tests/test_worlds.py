"""Worlds against autodiff, against NumPy, and against tight solves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS, TIGHT, gaussian, latents, matrices, rms, world
from scipy import integrate, stats

import densityguide as dg

LEVELS = (-8.0, -1.0, 2.0, 7.0)


def case(kind, path):
    return gaussian(5, path) if kind == "gaussian" else world(kind, path)


@pytest.mark.parametrize("kind", ["mixture12", "mixture32", "gaussian"])
@pytest.mark.parametrize("path", PATHS)
def test_every_derivative_against_autodiff(kind, path):
    flow = case(kind, path)
    k = jax.random.key(1)
    noise = jax.random.normal(k, (len(LEVELS), 3, flow.size))
    levels = jnp.asarray(LEVELS)
    alpha, sigma = flow.path.alpha(levels), flow.path.sigma(levels)
    x = 1.5 * alpha[:, None, None] + (sigma + alpha)[:, None, None] * noise

    @jax.jit
    def both(x, t):
        def log_p(x):
            return flow.log_density(x, t)

        hessian = jax.hessian(log_p)(x)
        jacobian = jax.jacfwd(lambda x: flow.velocity(x, t))(x)
        ours = flow.score(x, t), dg.worlds.laplacian(flow, x, t), dg.worlds.divergence(flow, x, t)
        return ours, (jax.grad(log_p)(x), jnp.trace(hessian), jnp.trace(jacobian))

    ours, truth = jax.vmap(jax.vmap(both, (0, None)))(x, levels)
    for a, b in zip(ours, truth, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("kind", ["mixture12", "gaussian"])
@pytest.mark.parametrize("path", PATHS)
def test_density_against_scipy(kind, path):
    flow = case(kind, path)
    for level in LEVELS:
        weights, means, covariances = matrices(flow, level)
        x = means[0] + np.linspace(-1, 1, flow.size)
        parts = [
            stats.multivariate_normal.logpdf(x, m, c)
            for m, c in zip(means, covariances, strict=True)
        ]
        truth = np.logaddexp.reduce(np.log(weights) + parts)
        np.testing.assert_allclose(flow.log_density(jnp.asarray(x), level), truth, rtol=1e-11)


@pytest.mark.parametrize("path", PATHS)
def test_one_dimensional_density_integrates_to_one(path):
    flow = dg.worlds.mixture(
        [0.2, 0.8], [[-1.0], [1.5]], [[0.3], [0.6]], path=PATHS[path], log_snr=(-4.0, 4.0)
    )
    for level in (-4.0, 0.0, 4.0):
        width = 12 * float(flow.path.sigma(level) + flow.path.alpha(level))
        grid = np.linspace(-width, width, 4001)
        density = jax.vmap(lambda x, t=level: flow.log_density(x, t))(jnp.asarray(grid)[:, None])
        total = integrate.simpson(np.exp(np.asarray(density)), x=grid)
        assert total == pytest.approx(1.0, abs=1e-9)


def test_a_covariance_computed_in_single_precision_is_symmetric_enough():
    rng = np.random.default_rng(0)
    for size in (3, 40, 200):
        basis = np.linalg.qr(rng.standard_normal((size, size)))[0].astype(np.float32)
        variances = np.geomspace(1e-2, 1e3, size, dtype=np.float32)
        given = (basis * variances) @ basis.T
        assert size == 3 or not np.allclose(given, given.T)  # element by element it is not
        flow = dg.worlds.gaussian(np.zeros(size), given)
        np.testing.assert_allclose(flow.params.variances, variances, rtol=1e-2)


@pytest.mark.parametrize("path", PATHS)
def test_flow_map_is_the_solution_of_the_flow(path):
    flow = gaussian(4, path)
    x = dg.latent(flow, jax.random.key(0))
    solved = dg.sample(flow, x, divergence=None, **TIGHT)
    assert int(solved.status) == dg.Status.OK
    exact = dg.worlds.flow_map(flow, x, *flow.interval) / flow.end_scale()
    np.testing.assert_allclose(solved.x, exact, rtol=1e-8, atol=1e-8)
    # It is a flow: two parts make the whole, and back is the inverse.
    half = dg.worlds.flow_map(flow, x, -6.0, 1.0)
    whole = dg.worlds.flow_map(flow, half, 1.0, 6.0) / flow.end_scale()
    np.testing.assert_allclose(whole, exact, rtol=1e-12)
    np.testing.assert_allclose(dg.worlds.flow_map(flow, half, 1.0, -6.0), x, rtol=1e-10)


@pytest.mark.parametrize("kind", ["mixture12", "gaussian"])
def test_exact_prior_draws_from_its_own_density(kind):
    """Moments of 40 000 draws, each within 5 standard errors; log_prob is the world's."""
    flow = (
        gaussian(5, "linear", (-1.0, 6.0))
        if kind == "gaussian"
        else world(kind, "linear", (-1.0, 6.0))
    )
    count = 40_000
    x = np.asarray(jax.jit(jax.vmap(flow.prior.sample))(jax.random.split(jax.random.key(0), count)))
    weights, means, covariances = matrices(flow, -1.0)
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, covariances + means[:, :, None] * means[:, None, :])
    covariance = second - np.outer(mean, mean)
    z = (x.mean(0) - mean) / np.sqrt(np.diag(covariance) / count)
    assert np.abs(z).max() < 5
    centred = x - mean
    products = centred[:, :, None] * centred[:, None, :]
    z = (products.mean(0) - covariance) / (products.std(0) / count**0.5)
    assert np.abs(z).max() < 5
    ours, truth = flow.prior.log_prob(x[0]), flow.log_density(jnp.asarray(x[0]), -1.0)
    assert float(ours) == pytest.approx(float(truth), abs=1e-12)


def test_plain_prior_misses_by_the_signal_left_in_it():
    """log N(0, sigma_T^2 I) - log p_T is of order alpha_T / sigma_T = e^(log_snr_min / 2)."""
    gaps = []
    for end in (-12.0, -16.0, -20.0):
        flow = world("mixture32", "vp", (end, 8.0), exact=False)
        x = latents(flow, 64)
        exact = jax.vmap(flow.log_density, (0, None))(x, end)
        gaps.append(rms(jax.vmap(flow.prior.log_prob)(x) - exact))
    np.testing.assert_allclose(np.divide(gaps[:-1], gaps[1:]), np.e**2, rtol=0.1)
