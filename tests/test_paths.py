"""Paths: the table of alpha, sigma and drift, and what ties them together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS
from scipy import stats

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


SIGMA_MIN = 0.1
OT = dg.paths.conditional_ot(SIGMA_MIN)


def test_conditional_ot_is_the_papers_interpolation():
    """alpha = t, sigma = 1 - (1 - sigma_min) t at the t that the clock says; the drift and the
    clock's own rate by central differences of the log-SNR in t."""
    t = np.linspace(0.01, 1.0, 50)
    sigma = 1 - (1 - SIGMA_MIN) * t
    level = 2 * np.log(t / sigma)
    np.testing.assert_allclose(OT.alpha(level), t, rtol=1e-12)
    np.testing.assert_allclose(OT.sigma(level), sigma, rtol=1e-12)
    clock = dg.clocks.conditional_ot_time(SIGMA_MIN)
    np.testing.assert_allclose(clock(jnp.asarray(level)), t, rtol=1e-12)
    assert clock == dg.clocks.conditional_ot_time(SIGMA_MIN)
    # d log alpha / d log_snr = (1 / t) / (2 / t + 2 (1 - sigma_min) / sigma) = sigma / 2
    np.testing.assert_allclose(OT.drift(level), 0.5 * sigma, rtol=1e-12)
    assert OT.greatest == pytest.approx(level[-1])


def test_conditional_ot_without_a_least_noise_is_linear():
    ot, linear = dg.paths.conditional_ot(0.0), dg.paths.linear()
    np.testing.assert_allclose(ot.log_alpha(LEVELS), linear.log_alpha(LEVELS), rtol=1e-12)
    np.testing.assert_allclose(ot.log_sigma(LEVELS), linear.log_sigma(LEVELS), rtol=1e-12)


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_a_conditional_ot_network_has_the_closed_forms(std):
    """The best velocity for N(0, std^2): the score, the marginal's log p and the noise level; read
    as the linear path's, the score is 1.7 times too large at t = 0.88."""

    def velocity(x, t):
        sigma = 1 - (1 - SIGMA_MIN) * t
        variance = (t * std) ** 2 + sigma**2
        return (t * std**2 - (1 - SIGMA_MIN) * sigma) / variance * x

    end = 2 * np.log(1 / SIGMA_MIN)
    options = {"prediction": "velocity", "shape": (3,), "log_snr": (-14.0, end)}
    clock = dg.clocks.conditional_ot_time(SIGMA_MIN)
    flow = dg.diffusion(velocity, path=OT, clock=clock, **options)
    x, t = jnp.asarray([0.4, -1.0, 0.7]), 0.88
    sigma = 1 - (1 - SIGMA_MIN) * t
    truth = -x / ((t * std) ** 2 + sigma**2)
    np.testing.assert_allclose(flow.score(x, 2 * np.log(t / sigma)), truth, rtol=1e-9)
    np.testing.assert_allclose(flow.noise_level(), SIGMA_MIN, rtol=1e-9)
    value = dg.log_density(flow, x, steps=400).value
    scale = np.sqrt(std**2 + SIGMA_MIN**2)
    np.testing.assert_allclose(value, stats.norm(scale=scale).logpdf(x).sum(), atol=1e-4)

    linear = dg.diffusion(velocity, path=dg.paths.linear(), clock=dg.clocks.flow_time, **options)
    wrong = linear.score(x, 2 * np.log(t / (1 - t)))
    assert std != 0.5 or np.allclose(wrong / truth, 1.7, atol=0.1)


def cosine_alpha(level):
    """cos of the angle arctan(exp(-level / 2)): variance preserving by another formula."""
    return jnp.log(jnp.cos(jnp.arctan(jnp.exp(-0.5 * level))))


def cosine_sigma(level):
    return jnp.log(jnp.sin(jnp.arctan(jnp.exp(-0.5 * level))))


def test_a_path_of_ones_own_is_known_by_what_it_does():
    own = dg.paths.custom(cosine_alpha, cosine_sigma)
    assert own.preserves_variance
    assert not own.keeps_signal
    x = jnp.asarray([0.3, -0.8])

    def flow(path):
        return dg.diffusion(
            lambda x, t: jnp.sin(x) * t, path=path, prediction="v", shape=(2,), log_snr=(-6.0, 6.0)
        )

    ours, theirs = flow(own), flow(PATHS["vp"])
    np.testing.assert_allclose(ours.score(x, 1.0), theirs.score(x, 1.0), rtol=1e-9)
    np.testing.assert_allclose(ours.velocity(x, 1.0), theirs.velocity(x, 1.0), rtol=1e-9)

    # Also where the flow is built inside a compiled program.
    seen = []
    jax.jit(lambda x: seen.append(dg.paths.custom(cosine_alpha, cosine_sigma)) or x)(1.0)
    assert seen[0].preserves_variance


def test_edms_preconditioning_goes_with_any_path_that_keeps_the_signal():
    own = dg.paths.custom(jnp.zeros_like, lambda level: -0.5 * level, name="mine")
    assert own.keeps_signal
    assert PATHS["ve"].keeps_signal
    options = {"prediction": "data", "clock": dg.clocks.edm_noise, "shape": (2,)}
    x = jnp.ones(2)
    network = dg.edm(lambda x, t: 0.1 * x)
    one, two = (dg.diffusion(network, path=path, **options) for path in (own, PATHS["ve"]))
    np.testing.assert_allclose(one.score(x, 0.5), two.score(x, 0.5), rtol=1e-12)
    with pytest.raises(ValueError, match="variance exploding path"):
        dg.diffusion(network, path=dg.paths.linear(), **options)


def test_a_range_may_not_leave_its_path():
    def flow(stop):
        return dg.diffusion(
            lambda x, t: x, path=OT, prediction="velocity", log_snr=(-10.0, stop), shape=(2,)
        )

    assert float(flow(OT.greatest).interval[1]) == pytest.approx(4.6052, abs=1e-4)
    assert flow(4.605).shape == (2,)
    with pytest.raises(ValueError, match=r"at or below 4.605 on the path conditional_ot"):
        flow(5.0)
    with pytest.raises(ValueError, match=r"interval must end at or below 4.605"):
        flow(4.0).replace(interval=(-10.0, 6.0))


def test_paths_compare_by_value():
    assert dg.paths.linear() == dg.paths.linear()
    assert hash(dg.paths.linear()) == hash(dg.paths.linear())
    assert dg.paths.conditional_ot(0.1) == OT
    assert hash(dg.paths.conditional_ot(0.1)) == hash(OT)
    assert [PATHS[n].preserves_variance for n in ("vp", "ve", "linear")] == [True, False, False]
