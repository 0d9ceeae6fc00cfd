"""The exponential family: moments, metric and divergences against closed forms and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curves import at, draw, eta_of, few, pair, posterior, straight_psi
from oracles import PATHS

import densityguide as dg
from densityguide.spacetime.family import moments


@pytest.mark.parametrize("path", PATHS)
def test_moments_are_those_of_the_posterior(path):
    """m and tr Cov(eps) = nu tr K by conditioning each component with NumPy."""
    flow = few(path=path)
    for level in (-4.0, 1.0, 6.0):
        point = at(flow, [0.4, -0.3, 0.9], level)
        found = moments(flow, point, dg.exact(), None)
        shares, centres, covariances = posterior(flow, point)
        mean = shares @ centres
        spread = np.einsum("k,kii->", shares, covariances) + shares @ np.sum(
            (centres - mean) ** 2, axis=1
        )
        np.testing.assert_allclose(found.mean, mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.noise[0], np.exp(level) * spread, rtol=1e-9)


@pytest.mark.slow
def test_the_metric_is_the_hessian_of_the_divergence_on_three_paths():
    """And of psi: three computations of one metric, on three labels of one manifold."""
    y, level = jnp.asarray([0.4, -0.3, 0.9]), 1.3
    found = {
        path: dg.spacetime.metric(few(path=path), at(few(path=path), y, level)) for path in PATHS
    }
    flow, point = few(), at(few(), y, level)
    psi = straight_psi(flow)

    def kl(z):
        eta = eta_of(dg.spacetime.Point(z[:-1], z[-1]))
        start = eta_of(point)
        return psi(eta) - psi(start) - (eta - start) @ jax.grad(psi)(start)

    z = jnp.append(y, level)
    hessian = jax.jit(jax.hessian(kl))(z)
    jacobian = jax.jacfwd(lambda z: eta_of(dg.spacetime.Point(z[:-1], z[-1])))(z)
    fisher = jacobian.T @ jax.jit(jax.hessian(psi))(eta_of(point)) @ jacobian
    np.testing.assert_allclose(fisher, hessian, rtol=1e-9, atol=1e-9)
    for metric in found.values():
        np.testing.assert_allclose(metric, hessian, rtol=1e-9, atol=1e-10)
        assert np.linalg.eigvalsh(np.asarray(metric)).min() > 0


def test_the_metric_is_the_covariance_of_the_noise():
    """g_yy = nu Cov(eps), g_yl = sqrt(nu) Cov(eps, |eps|^2) / 2, g_ll = Var|eps|^2 / 4, from
    samples of the posterior."""
    flow = few()
    point = at(flow, [0.4, -0.3, 0.9], 0.5)
    nu = np.exp(0.5)
    noise = nu**0.5 * (np.asarray(point.y) - draw(flow, point, 400_000))
    both = np.concatenate([nu**0.5 * noise, 0.5 * np.sum(noise**2, axis=1, keepdims=True)], axis=1)
    metric = np.asarray(dg.spacetime.metric(flow, point))
    np.testing.assert_allclose(metric, np.cov(both.T), rtol=0.02, atol=0.01 * metric.max())


def test_low_noise_is_hyperbolic():
    flow = few()
    point = at(flow, [0.4, -0.3, 0.9], 9.0)
    metric = np.asarray(dg.spacetime.metric(flow, point))
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    expected = np.diag([np.exp(9.0)] * 3 + [1.5])
    np.testing.assert_allclose(metric / scale, expected / scale, atol=0.05)


def test_kl_in_closed_form_against_monte_carlo():
    """log p(x0 | a) - log p(x0 | b) = (eta_a - eta_b) . T - psi_a + psi_b over samples of a."""
    flow = few()
    a, b = at(flow, [0.4, -0.3, 0.9], 1.0), at(flow, [0.1, 0.2, 0.7], 2.0)
    found = dg.spacetime.divergence(flow, a, b)
    psi = straight_psi(flow)
    for left, right, value in ((a, b, found.forward), (b, a, found.backward)):
        x = draw(flow, left, 200_000)
        statistic = np.concatenate([x, np.sum(x**2, axis=1, keepdims=True)], axis=1)
        gap = np.asarray(eta_of(left) - eta_of(right))
        ratio = statistic @ gap - float(psi(eta_of(left)) - psi(eta_of(right)))
        error = ratio.std() / len(x) ** 0.5
        assert abs(ratio.mean() - float(value)) < 5.0 * error
        assert error < 0.02 * float(value)
    np.testing.assert_allclose(found.forward + found.backward, found.jeffreys, rtol=1e-9)
    assert int(found.status) == dg.Status.OK
    assert (float(found.standard_error), float(found.kl_error)) == (0.0, 0.0)


def test_divergences_do_not_depend_on_the_path():
    values = []
    for path in PATHS:
        flow = few(path=path)
        a, b = pair(flow, seed=3)
        found = dg.spacetime.divergence(flow, a, b)
        values.append([found.jeffreys, found.forward])
    np.testing.assert_allclose(values[1:], [values[0]] * 2, rtol=1e-9)


def test_log_density_is_the_information_distance_to_the_noise_end():
    """KL to p0 itself against samples, and as the limit of KL to ever noisier points."""
    flow = few()
    point = at(flow, [0.4, -0.3, 0.9], 1.0)
    found = dg.spacetime.information(flow, point)
    psi = straight_psi(flow)
    x = draw(flow, point, 200_000)
    statistic = np.concatenate([x, np.sum(x**2, axis=1, keepdims=True)], axis=1)
    ratio = statistic @ np.asarray(eta_of(point)) - float(psi(eta_of(point)))
    assert abs(ratio.mean() - float(found.value)) < 5.0 * ratio.std() / len(x) ** 0.5
    far = at(flow, [0.0, 0.0, 0.0], -9.0)
    near = dg.spacetime.divergence(flow, point, far).forward
    np.testing.assert_allclose(near, found.value, rtol=1e-3)
