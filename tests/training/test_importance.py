"""The learnt proposal of log-SNR: never biased, and better where the best one is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide.training.config import Loss
from densityguide.training.importance import Adapted, Histogram, fresh
from densityguide.training.loss import denoising_loss, draws_of, levels, weighted_errors
from densityguide.training.noise_levels import NoiseLevels

LOW, HIGH = -9.0, 8.0
KEY = jax.random.key(1)
FIXED = NoiseLevels(LOW, HIGH, 0.5, 1.5, 0.6)
WEIGHTING = NoiseLevels(LOW, HIGH, 0.0, 1.5, 0.3)
GRID = np.linspace(LOW, HIGH, 20001, dtype=np.float32)


def histogram(name):
    if name == "fresh":
        return fresh()
    if name == "one bin":
        return Histogram(jnp.zeros(32).at[20].set(1e4), jnp.full(32, 50.0))
    squares = jnp.exp(3.0 * jax.random.normal(jax.random.key(5), (32,)))
    return Histogram(squares, jnp.linspace(0.0, 90.0, 32))


@jax.jit
def measured(histogram):
    """The cumulative density, sorted draws, and estimates of E_w f from batches of 8."""
    proposal = Adapted(FIXED, 0.5, histogram)
    cumulative = jnp.cumsum(proposal.density(GRID)) * (GRID[1] - GRID[0])
    draws = jnp.sort(proposal.draw(jax.random.key(0), 20000))
    keys = jax.random.split(jax.random.key(1), 2000)
    drawn = jax.vmap(lambda key: proposal.draw(key, 8))(keys)
    weights = WEIGHTING.density(drawn) / proposal.density(drawn)
    return cumulative, draws, (weights * (2.0 + jnp.cos(0.9 * drawn))).mean(1)


@pytest.mark.parametrize("name", ["fresh", "one bin", "random"])
def test_draws_follow_the_density_and_weights_are_unbiased(name):
    cumulative, draws, estimates = map(np.asarray, measured(histogram(name)))
    np.testing.assert_allclose(cumulative[-1], 1.0, rtol=2e-3)
    assert draws.min() >= LOW
    assert draws.max() <= HIGH
    found = np.interp(draws, GRID, cumulative)
    assert np.abs(found - (np.arange(20000) + 0.5) / 20000).max() < 3e-3
    exact = np.trapezoid(WEIGHTING.density(GRID) * (2.0 + np.cos(0.9 * GRID)), GRID)
    assert abs(estimates.mean() - exact) < 4 * estimates.std() / len(estimates) ** 0.5


def test_it_comes_near_the_best_proposal_where_that_is_known():
    """Error e = a(l) chi^2 with a bump the fixed proposal misses: E[e^2] = 3 a^2, the least second
    moment of w e / q is (int w sqrt(E e^2))^2, and learning from draws alone gets near it."""
    weighting = WEIGHTING._replace(share=0.0)
    share, batch = 0.8, 64

    def size(t):
        return 0.02 + jnp.exp(-0.5 * jnp.square((t - 5.0) / 0.7))

    def learn(state, key):
        proposal = Adapted(FIXED, share, state)
        key_level, key_error = jax.random.split(key)
        log_snr = proposal.draw(key_level, batch)
        error = size(log_snr) * jnp.square(jax.random.normal(key_error, (batch,)))
        return proposal.learn(
            log_snr, weighting.density(log_snr) / proposal.density(log_snr) * error
        ), None

    learnt, _ = jax.lax.scan(learn, fresh(), jax.random.split(jax.random.key(0), 1500))

    def second_moment(q):
        return jnp.trapezoid(jnp.square(weighting.density(GRID) * size(GRID)) * 3.0 / q, GRID)

    def variance(q):
        return second_moment(q) - jnp.trapezoid(weighting.density(GRID) * size(GRID), GRID) ** 2

    root = weighting.density(GRID) * size(GRID)
    best = variance(root / jnp.trapezoid(root, GRID))
    ours = variance(Adapted(FIXED, share, learnt).density(GRID))
    fixed = variance(FIXED.density(GRID))
    print("variance: best", best, "learnt", ours, "fixed", fixed)
    assert best < ours < 1.6 * best
    assert ours < 0.25 * fixed


def test_a_loss_that_is_not_finite_is_not_learnt():
    proposal = Adapted(FIXED, 0.5, fresh())
    state = proposal.learn(jnp.asarray([0.0, 1.0, 2.0]), jnp.asarray([jnp.nan, jnp.inf, 1.0]))
    assert np.isfinite(state.squares).all()
    assert float(state.counts.sum()) == 1.0


def test_likelihood_weighting_is_the_evidence_lower_bound_of_a_gaussian():
    """Data N(0, V), denoised as well as can be: the loss times D (high - low) / 2 is
    1/2 log (1 + e^high v) / (1 + e^low v) per dimension, and with the information at `low` and the
    entropy left at `high` it is the entropy of the data."""
    with jax.enable_x64(True):
        variance = jnp.asarray([0.05, 0.4, 1.0, 2.5], jnp.float64)
        loss = Loss(prediction="noise", weighting="likelihood", log_snr=(-6.0, 5.0), adapt=0.3)
        low, high = loss.log_snr
        count = 100_000
        key_data, key = jax.random.split(jax.random.key(0))
        x0 = jnp.sqrt(variance) * jax.random.normal(key_data, (count, 4), jnp.float64)

        def apply(params, x, log_snr):
            alpha, sigma = (jnp.sqrt(jax.nn.sigmoid(s * log_snr)) for s in (1, -1))
            return sigma * x / (alpha**2 * variance + sigma**2)

        @jax.jit
        def nats(key, x0):
            draws = draws_of(key, x0, loss, histogram=fresh())
            return weighted_errors(apply, None, x0, draws, loss) * 4 * (high - low) / 2

        losses = nats(key, x0)
        error = float(losses.std() / count**0.5)

        def information(log_snr):
            return 0.5 * jnp.sum(jnp.log1p(jnp.exp(log_snr) * variance))

        exact = information(high) - information(low)
        assert error < 0.05
        assert abs(float(losses.mean() - exact)) < 4 * error
        left = variance / (1 + jnp.exp(high) * variance)
        entropy = 0.5 * jnp.sum(jnp.log(2 * jnp.pi * jnp.e * variance))
        whole = information(low) + exact + 0.5 * jnp.sum(jnp.log(2 * jnp.pi * jnp.e * left))
        np.testing.assert_allclose(whole, entropy, rtol=1e-12)


def test_families_share_the_likelihood():
    """A v network and a noise network that are the same denoiser have the same likelihood loss."""
    x0 = 0.3 * jax.random.normal(jax.random.key(0), (64, 4))
    losses = []
    for kind in ("v", "noise", "data"):
        loss = Loss(prediction=kind, weighting="likelihood")

        def apply(params, x, log_snr, kind=kind):
            alpha, sigma = (jnp.sqrt(jax.nn.sigmoid(s * log_snr)) for s in (1, -1))
            eps = 0.8 * sigma * x
            data = (x - sigma * eps) / alpha
            return {"noise": eps, "data": data, "v": alpha * eps - sigma * data}[kind]

        one = jax.jit(lambda x0, loss=loss, apply=apply: denoising_loss(apply, None, x0, KEY, loss))
        losses.append(one(x0))
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)


def test_nothing_is_learnt_without_a_histogram():
    proposal, _ = levels(Loss())
    assert isinstance(proposal, NoiseLevels)
