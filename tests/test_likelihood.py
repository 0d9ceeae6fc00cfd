"""Log-density: against closed forms, and the honesty of its error bar."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import TIGHT, closed_form, decode, encode, every_world, gaussian, latents, rms, world
from scipy import stats

import densityguide as dg


@every_world(("mixture12", "ve"))
def test_exact_trace_against_the_closed_form(name, path):
    flow = world(name, path)
    alpha, sigma = flow.path.alpha(8.0), flow.path.sigma(8.0)
    k = jax.random.split(jax.random.key(2), 16)
    data = jax.vmap(dg.worlds.exact_prior(flow.replace(interval=(8.0, 9.0))).prior.sample)(k)
    x = (data + 0.5 * sigma) / alpha
    exact = encode(flow, x, **TIGHT)
    np.testing.assert_allclose(exact.value, closed_form(flow, x), atol=1e-6)
    assert (np.asarray(exact.standard_error) == 0).all()
    # From the plain prior the same encoding differs by the prior's mismatch at the latent alone.
    plain = encode(world(name, path, exact=False), x, **TIGHT)
    start = flow.interval[0]
    mismatch = jax.vmap(
        lambda z: (
            dg.priors.normal(flow.shape, flow.path.sigma(start)).log_prob(z)
            - flow.log_density(z, start)
        )
    )(plain.latent)
    np.testing.assert_allclose(plain.value - mismatch, closed_form(flow, x), atol=1e-6)
    assert np.abs(mismatch).max() > 1e-3


@pytest.mark.slow
def test_gaussian_change_of_volume():
    """log p_0(x_0) = log p_T(x_T) + log(det C_T / det C_0) / 2, at the state's own scale."""
    flow = gaussian(4, "vp")
    x = latents(flow, 4)
    out = decode(flow, x, **TIGHT)
    world_, path = flow.params, flow.path

    def log_det(t):
        return jnp.sum(jnp.log(path.alpha(t) ** 2 * world_.variances + path.sigma(t) ** 2))

    start, stop = flow.interval
    expected = jax.vmap(flow.prior.log_prob)(x) + 0.5 * (log_det(start) - log_det(stop))
    offset = flow.size * jnp.log(path.alpha(stop))
    np.testing.assert_allclose(out.log_density - offset, expected, atol=1e-8)
    np.testing.assert_allclose(out.noise_level, jnp.exp(-0.5 * stop))


def test_scale_of_data_is_accounted_for():
    """The density reported at the end of the linear path is that of x / alpha."""
    flow = world("mixture12", "linear", (-8.0, 2.0))
    out = decode(flow, latents(flow, 4), steps=64)
    assert float(flow.end_scale()) == pytest.approx(1 / (1 + np.e**-1.0))
    exact = jax.vmap(lambda x: flow.log_density(x * flow.end_scale(), 2.0))(out.x)
    offset = 12 * np.log(1 / (1 + np.e**-1.0))
    assert abs(offset) > 3
    np.testing.assert_allclose(out.log_density, exact + offset, atol=1e-2)


TRACES = {
    "rademacher2": dg.hutchinson(2),
    "gaussian4": dg.hutchinson(4, "gaussian"),
    "orthogonal2": dg.orthogonal(2),
}


@pytest.mark.parametrize("name", TRACES)
def test_standard_error_is_honest(name):
    """500 estimated log-densities of one sample each: the error bars add up to the errors seen,
    and the 95% intervals of Student's t cover 92 to 99%."""
    flow = world("mixture12", "vp", (-6.0, 3.0))
    x = decode(flow, latents(flow, 500), steps=40).x
    trace = TRACES[name]
    keys = jax.random.split(jax.random.key(7), 500)

    @jax.jit
    def both(flow, x, keys):
        exact = jax.vmap(lambda x: dg.log_density(flow, x, steps=40).value)(x)

        def one(x, k):
            return dg.log_density(flow, x, divergence=trace, key=k, steps=40)

        return exact, jax.vmap(one)(x, keys)

    exact, out = both(flow, x, keys)
    error = np.asarray(out.value - exact)
    z = error / np.asarray(out.standard_error)
    coverage = np.mean(np.abs(z) < stats.t.ppf(0.975, np.asarray(out.degrees_of_freedom)))
    share = rms(error) / rms(out.standard_error)
    print(name, "error / error bar", share, "coverage", coverage)
    assert abs(error.mean()) < 4 * error.std() / 500**0.5
    assert 0.85 < share < 1.12
    assert 0.92 <= coverage <= 0.99
    assert (np.asarray(out.tangents) == np.asarray(out.evaluations) * trace.probes).all()


@pytest.mark.slow
def test_orthogonal_probes_beat_random_ones_over_a_solve():
    """By far, where the Jacobian changes little within a cycle: here 32 evaluations of 193."""
    flow = world("mixture32", "vp", (-6.0, 3.0))
    x = decode(flow, latents(flow, 1), steps=64).x[0]
    keys = jax.random.split(jax.random.key(1), 100)
    spread = []
    for trace in (dg.hutchinson(2), dg.orthogonal(2)):

        def one(k, trace=trace):
            return dg.log_density(flow, x, divergence=trace, key=k, steps=192)

        spread.append(float(jnp.std(jax.jit(jax.vmap(lambda k, one=one: one(k).value))(keys))))
    assert spread[1] < 0.4 * spread[0]


@pytest.mark.slow
def test_adaptive_estimates_keep_their_probes():
    """An adaptive solve is deterministic inside: value within five of its own error bars, on
    average over keys unbiased."""
    flow = world("mixture12", "vp", (-6.0, 3.0))
    x = decode(flow, latents(flow, 1), steps=64).x[0]
    keys = jax.random.split(jax.random.key(3), 200)
    trace = dg.hutchinson(8)

    def one(k):
        return dg.log_density(flow, x, divergence=trace, key=k, rtol=1e-5)

    out = jax.jit(jax.vmap(one))(keys)
    error = np.asarray(out.value - closed_form(flow, x[None])[0])
    assert abs(error.mean()) < 4.5 * error.std() / 200**0.5
    assert np.mean(np.asarray(out.standard_error) ** 2) == pytest.approx(error.var(), rel=0.35)


@pytest.mark.slow
def test_bits_per_dim_is_the_dequantised_bound():
    """-E_u log2 p(T(image + u)) / D with T' = 2 / 256, by quadrature over u of the closed form."""
    from densityguide.data.transforms import Dequantise

    flow = dg.worlds.exact_prior(
        dg.worlds.mixture(
            [0.4, 0.6], [[0.3, 0.2], [-0.5, 0.1]], 0.2, path=dg.paths.linear(), log_snr=(-8.0, 6.0)
        )
    )
    flow = flow.replace(transform=Dequantise())
    images = np.asarray([[150, 140], [64, 141], [10, 200]], np.uint8)
    out = dg.bits_per_dim(flow, images, jax.random.key(0), draws=32, steps=100)
    nodes = (np.arange(24) + 0.5) / 24
    u = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    x = 2.0 * (images[:, None, :] + u) / 256 - 1.0
    nats = jax.vmap(lambda x: closed_form(flow, x))(jnp.asarray(x)).mean(axis=1)
    truth = -(nats / 2 + np.log(2 / 256)) / np.log(2)
    z = (np.asarray(out.value) - truth) / np.asarray(out.standard_error)
    assert np.abs(z).max() < 4
    assert np.asarray(out.standard_error).max() < 0.02
    np.testing.assert_array_equal(out.status, 0)
