"""Calibration measures what closed forms say about natural samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_form, decode, latents, world

import densityguide as dg


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


def test_probe_noise_does_not_inflate_the_spread():
    flow = world("mixture12")
    key = jax.random.key(1)
    exact = dg.calibrate(flow, key, count=256, batch=256, steps=8).calibration.spread
    trace = dg.hutchinson(2)
    noisy = dg.calibrate(flow, key, count=256, batch=256, steps=8, divergence=trace)
    assert np.allclose(noisy.calibration.spread, exact, atol=0.12)
    assert np.all(exact <= 1.15)


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
    guided = decode(flow, x, jnp.full((4,), 0.5), dg.calibrated, steps=16)
    assert np.allclose(guided.x, decode(flow, x, steps=16).x, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"count": 2}, "at least 8"), ({"rtol": 1e-3}, "fixed grid")],
)
def test_bad_input(options, words):
    with pytest.raises(ValueError, match=words):
        dg.calibrate(world("mixture12"), jax.random.key(0), **options)


def test_a_flow_without_a_score_is_refused():
    flow = dg.cnf(lambda x, t: x, prior=dg.priors.normal((2,)), interval=(0.0, 1.0), shape=(2,))
    with pytest.raises(ValueError, match="needs a score"):
        dg.calibrate(flow, jax.random.key(0))
