"""Calibration measures what closed forms say about natural samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_form, decode, latents, world

import densityguide as dg


@pytest.mark.slow
def test_spread_of_h_matches_the_gaussian_closed_form():
    # For data N(m, v I): h sqrt(2 D) = sigma^2 (|s|^2 - D / C), C = alpha^2 v + sigma^2, so its
    # standard deviation over natural samples is sigma^2 / C.
    v = 0.3
    flow = dg.worlds.exact_prior(dg.worlds.gaussian(np.ones(6), v * np.eye(6), log_snr=(-8.0, 6.0)))
    out = dg.calibrate(flow, jax.random.key(0), count=512, batch=512, steps=14).calibration
    sigma2 = flow.path.sigma(out.times) ** 2
    expected = sigma2 / (flow.path.alpha(out.times) ** 2 * v + sigma2)
    assert np.allclose(out.spread, expected, rtol=0.12)
    # Mean log p is minus the entropy.
    entropy = 3.0 * jnp.log(2 * jnp.pi * jnp.e * (flow.path.alpha(out.times) ** 2 * v + sigma2))
    assert np.allclose(out.log_density, -entropy, atol=0.35)


@pytest.mark.slow
def test_probe_noise_does_not_inflate_the_spread():
    """Nearly all variance along (1, 1): the Hessian's other entries are half its diagonal, and one
    probe squared would find sqrt(3 / 4) where the spread is sqrt(1 / 2)."""
    covariance = np.asarray([[1.0, 0.9999], [0.9999, 1.0]])
    flow = dg.worlds.gaussian(np.zeros(2), covariance, log_snr=(-3.0, 6.0))
    flow, found = dg.worlds.exact_prior(flow), []
    for trace in (dg.exact(), dg.hutchinson(2)):  # of the same 4096 samples
        options = {"count": 4096, "batch": 4096, "steps": 9, "divergence": trace}
        found.append(dg.calibrate(flow, jax.random.key(1), **options).calibration.spread)
    np.testing.assert_allclose(found[0][5], 0.5**0.5, rtol=0.1)
    np.testing.assert_allclose(found[1], found[0], rtol=0.05)


@pytest.mark.slow
def test_calibrated_target_needs_no_plain_solve_and_lands():
    flow = dg.calibrate(world("mixture32"), jax.random.key(0), count=64, batch=64)
    x = latents(flow, 16)
    goal = jnp.full((16,), -26.0)
    out = decode(flow, x, goal, dg.target, steps=192)
    bare = decode(world("mixture32"), x, goal, dg.target, steps=192)
    assert int(out.evaluations[0]) == 193
    assert 193 < int(bare.evaluations[0]) < 250  # a coarse plain solve first
    assert np.sqrt(np.mean((closed_form(flow, out.x) - goal) ** 2)) < 0.02


@pytest.mark.slow
def test_calibrated_half_is_the_plain_flow():
    flow = dg.calibrate(world("mixture12"), jax.random.key(0), count=16, batch=16, steps=16)
    x = latents(flow, 4)
    options = {"steps": 16, "solver": dg.Adams()}  # the defaults have different orders
    guided = decode(flow, x, jnp.full((4,), 0.5), dg.calibrated, **options)
    assert np.allclose(guided.x, decode(flow, x, **options).x, atol=1e-12)


def breaking(size):
    """A Gaussian's flow whose network is not finite for latents with a first entry above
    ``size``."""

    def network(params, x, t):
        return jnp.where(x[0] > size * jnp.sqrt(jax.nn.sigmoid(-t)), jnp.nan, x * params)

    settings = {"path": dg.paths.variance_preserving(), "prediction": "noise", "shape": (2,)}
    return dg.diffusion(network, params=jnp.asarray(0.5), log_snr=(-5.0, 3.0), **settings)


def test_samples_that_fail_are_left_out_and_said():
    with pytest.warns(UserWarning, match="of 16 plain samples were not finite and are left out"):
        out = dg.calibrate(breaking(1.5), jax.random.key(0), count=16, batch=16, steps=6)
    assert np.isfinite(out.calibration.log_density).all()
    assert np.isfinite(out.calibration.spread).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"count": 2}, "at least 8"), ({"rtol": 1e-3}, "no option")],
)
def test_bad_input(options, words):
    with pytest.raises(ValueError, match=words):
        dg.calibrate(world("mixture12"), jax.random.key(0), **options)


def test_a_flow_without_a_score_is_refused():
    flow = dg.cnf(lambda x, t: x, prior=dg.priors.normal((2,)), interval=(0.0, 1.0), shape=(2,))
    with pytest.raises(ValueError, match="needs a score"):
        dg.calibrate(flow, jax.random.key(0))
