"""Latents, prior guidance, and what a sample says about itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import decode, gaussian, latents, world
from scipy import stats

import densityguide as dg
from densityguide.steer.rescale import chi_quantile


@pytest.mark.parametrize("size", [1, 2, 12, 256, 3072])
def test_chi_quantile_against_scipy(size):
    q = np.asarray([1e-4, 0.01, 0.3, 0.5, 0.8, 0.99, 1 - 1e-4])
    ours = jax.vmap(lambda p: chi_quantile(p, size))(jnp.asarray(q))
    np.testing.assert_allclose(ours, stats.chi(size).ppf(q), rtol=1e-7)


def test_rescaling_sets_the_norm_and_keeps_the_direction():
    flow = world("mixture12", "ve", exact=False)
    x = latents(flow, 1)[0]
    scale = flow.path.sigma(-10.0)
    last = None
    for q in (0.1, 0.5, 0.9):
        y = dg.rescale(flow, x, q)
        np.testing.assert_allclose(jnp.linalg.norm(y), scale * stats.chi(12).ppf(1 - q), rtol=1e-8)
        np.testing.assert_allclose(y / jnp.linalg.norm(y), x / jnp.linalg.norm(x), rtol=1e-12)
        density = flow.prior.log_prob(y)
        assert last is None or density > last  # larger q, larger log p_T
        last = density
    np.testing.assert_allclose(dg.rescale(flow, x, factor=1.5), 1.5 * x)


@pytest.mark.slow
def test_larger_q_is_larger_log_density_where_aligned():
    """A Gaussian is always aligned: smaller latents decode to higher log p."""
    flow = gaussian(4, "vp", exact=False)
    x = latents(flow, 6)
    means = []
    for q in (0.1, 0.5, 0.9):
        scaled = jax.vmap(lambda x, q=q: dg.rescale(flow, x, q))(x)
        means.append(np.asarray(decode(flow, scaled, steps=40).log_density))
    assert (np.diff(means, axis=0) > 0).all()


def test_latents_are_draws_from_the_prior():
    flow = world("mixture12", "ve", exact=False)
    x = np.asarray(latents(flow, 4000)) / np.exp(5.0)
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-3


def test_without_a_trace_the_log_density_is_absent():
    flow = world("mixture12", "vp")
    x = latents(flow, 1)[0]
    out = dg.sample(flow, x, divergence=None, steps=8)
    assert out.log_density is None
    assert out.standard_error is None
    assert int(out.tangents) == 0
    tracked = dg.sample(flow, x, steps=8)
    np.testing.assert_array_equal(tracked.x, out.x)
    assert int(tracked.tangents) == 12 * int(tracked.evaluations)
    np.testing.assert_allclose(out.noise_level, np.exp(-4.0))


def test_path_runs_from_the_prior_to_the_reported_value():
    """`path` holds log p of the state at every knot: each against the closed form there."""
    flow = world("mixture12", "linear", (-6.0, 3.0))
    x = latents(flow, 4)
    out = decode(flow, x, jnp.full(4, 0.6), dg.quantile, steps=128)
    assert out.path.shape == (4, 129)
    np.testing.assert_allclose(out.path[:, 0], jax.vmap(flow.prior.log_prob)(x), rtol=1e-12)
    offset = 12 * jnp.log(flow.end_scale())
    np.testing.assert_allclose(out.path[:, -1] + offset, out.tracked, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_the_state_is_never_less_than_single_precision(kind):
    """A small bfloat16 network: x, log p and weights' gradients, state float32."""
    dtype = jnp.dtype(kind)
    with jax.enable_x64(False):
        k1, k2 = jax.random.split(jax.random.key(0))
        params = {
            "in": (0.3 * jax.random.normal(k1, (5, 16))).astype(dtype),
            "out": (0.3 * jax.random.normal(k2, (16, 4))).astype(dtype),
        }

        def network(params, x, t):
            inputs = jnp.append(x, 0.1 * t).astype(dtype)
            out = jnp.tanh(inputs @ params["in"]) @ params["out"]
            assert out.dtype == dtype
            return out

        flow = dg.diffusion(
            network,
            params=params,
            path=dg.paths.variance_preserving(),
            prediction="noise",
            log_snr=(-5.0, 5.0),
            shape=(4,),
        )
        x = dg.latent(flow, jax.random.key(1))
        assert x.dtype == jnp.float32
        out = dg.sample(flow, x, guidance=dg.target(-3.0), steps=16)
        back = dg.log_density(flow, out.x, steps=16)
        aligned = dg.score_alignment(flow, x, steps=16)
        reported = (out.x, out.log_density, out.unmet, back.value, back.latent, aligned.value)
        assert [a.dtype for a in reported] == [jnp.float32] * len(reported)
        assert all(bool(jnp.isfinite(a).all()) for a in reported)
        # An input in half precision is lifted, not followed.
        half = dg.sample(flow, x.astype(jnp.bfloat16), steps=16)
        assert half.x.dtype == jnp.float32
        # The state keeps digits that the network's own type cannot hold.
        small = dg.sample(flow, x + 1e-5, steps=16, divergence=None).x
        plain = dg.sample(flow, x, steps=16, divergence=None).x
        assert float(jnp.abs(small - plain).max()) > 0


@pytest.mark.slow
def test_single_precision_stays_near_double():
    """The same solve in float32: log p within a few 1e-5 of its size."""
    flow = world("mixture32", "vp")
    x = latents(flow, 4)
    double = decode(flow, x, steps=64)
    single_flow = jax.tree.map(lambda a: a.astype(jnp.float32), flow)
    with jax.enable_x64(False):
        single = jax.jit(jax.vmap(lambda x: dg.sample(single_flow, x, steps=64)))(
            x.astype(jnp.float32)
        )
        assert single.x.dtype == single.log_density.dtype == jnp.float32
    np.testing.assert_allclose(single.x, double.x, atol=2e-4)
    np.testing.assert_allclose(single.log_density, double.log_density, atol=5e-3)
