"""Clocks: each is the inverse of its schedule and moves one way."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg

LEVELS = np.linspace(-9.0, 9.0, 61)
INVERSES = {
    "log_snr": lambda t: t,
    "flow_time": lambda t: 2 * np.log(t / (1 - t)),  # alpha = t
    "reversed_flow_time": lambda t: 2 * np.log((1 - t) / t),  # sigma = t
    "cosine_time": lambda t: -2 * np.log(np.tan(np.pi * t / 2)),
    "edm_noise": lambda t: -2 * np.log(np.exp(4 * t)),  # c_noise = log(sigma) / 4
}
RISING = {"log_snr", "flow_time"}


@pytest.mark.parametrize("name", INVERSES)
def test_inverse_and_direction(name):
    times = np.asarray(getattr(dg.clocks, name)(jnp.asarray(LEVELS)))
    np.testing.assert_allclose(INVERSES[name](times), LEVELS, atol=1e-11)
    assert (np.diff(times) > 0).all() == (name in RISING)
    assert (np.diff(times) < 0).all() == (name not in RISING)


@pytest.mark.parametrize("betas", [None, np.linspace(1e-3, 0.3, 40)])
def test_ddpm_table_is_the_cumulative_product(betas):
    table = np.linspace(1e-4, 0.02, 1000) if betas is None else betas
    kept = np.cumprod(1 - table)
    log_snr = dg.clocks.ddpm_log_snr(betas)
    np.testing.assert_allclose(log_snr, np.log(kept / (1 - kept)), rtol=1e-9)
    clock = dg.clocks.ddpm(betas)
    index = np.asarray(clock(jnp.asarray(log_snr)))
    np.testing.assert_allclose(index, np.arange(len(table)), atol=1e-7)
    between = clock(0.5 * (log_snr[3] + log_snr[4]))
    np.testing.assert_allclose(between, 3.5, atol=1e-9)


def test_ddpm_is_clipped_beyond_its_table_and_compares_by_value():
    clock = dg.clocks.ddpm()
    assert float(clock(jnp.asarray(50.0))) == 0.0
    assert float(clock(jnp.asarray(-50.0))) == 999.0
    assert clock == dg.clocks.ddpm()
    assert hash(clock) == hash(dg.clocks.ddpm())
    assert repr(clock) == "Ddpm(1000 steps, log-SNR -10.12 to 9.21)"


def cosine_alphas(count=100):
    return np.cos(np.pi / 2 * np.linspace(0.01, 1.0, count)) ** 2


def test_zero_terminal_snr_ends_at_the_last_finite_level():
    """Rescaled schedules (Lin et al., 2024): the last level has no signal."""
    kept = np.clip(cosine_alphas(), 0.0, None)
    kept[-1] = 0.0
    betas = 1 - kept / np.concatenate([[1.0], kept[:-1]])
    assert betas[-1] == 1.0
    log_snr = dg.clocks.ddpm_log_snr(betas)
    assert log_snr.shape == (99,)
    np.testing.assert_allclose(log_snr, np.log(kept[:-1] / (1 - kept[:-1])), atol=1e-9)
    clock = dg.clocks.ddpm(betas)
    assert float(clock(jnp.asarray(log_snr[-1]))) == pytest.approx(98.0)
    # A flow over the whole range starts at that level.
    flow = dg.diffusion(
        lambda x, t: x,
        path=dg.paths.variance_preserving(),
        prediction="v",
        clock=clock,
        log_snr=(log_snr[-1], log_snr[0]),
        shape=(2,),
    )
    np.testing.assert_allclose(flow.prior.scale**2, 1 - kept[-2], rtol=1e-9)


@pytest.mark.parametrize("power", [1, 0.5])
@pytest.mark.parametrize("last", [0.0, 1e-4])
def test_cumulative_products_are_not_betas(power, last):
    kept = cosine_alphas() ** power
    kept[-1] = last
    with pytest.raises(ValueError, match="looks like alphas_cumprod or alphas"):
        dg.clocks.ddpm(kept)
    with pytest.raises(ValueError, match="looks like alphas_cumprod or alphas"):
        dg.clocks.ddpm(1 - np.linspace(1e-4, 0.02, 1000))


def test_trained_betas_are_the_schedulers_own_table():
    """Any table of betas, not one of a formula; the index is the place in the table."""
    betas = np.random.default_rng(0).uniform(1e-3, 0.2, 50)
    clock, kept = dg.clocks.ddpm(list(betas)), np.cumprod(1 - betas)
    for index in (0, 17, 49):
        level = jnp.asarray(np.log(kept[index] / (1 - kept[index])))
        np.testing.assert_allclose(clock(level), index, atol=1e-9)


@pytest.mark.parametrize("order", [1, -1])
def test_a_table_of_sigmas_is_indexed_either_way(order):
    """NCSN's falls from 50 to 0.01 in geometric steps, k-diffusion's rises."""
    table = np.geomspace(50.0, 0.01, 12)[::order]
    clock = dg.clocks.sigmas(table)
    level = -2 * np.log(table)
    np.testing.assert_allclose(clock(jnp.asarray(level)), np.arange(12), atol=1e-9)
    between = clock(jnp.asarray(0.5 * (level[3] + level[4])))
    np.testing.assert_allclose(between, 3.5, atol=1e-9)
    assert float(clock(jnp.asarray(99.0))) == (11.0 if order == 1 else 0.0)
    assert repr(clock) == "Sigmas(12 steps, log-SNR -7.824 to 9.21)"
    assert clock == dg.clocks.sigmas(table)


def test_edm_networks_are_told_a_quarter_of_log_sigma():
    sigma = np.geomspace(0.002, 80.0, 9)
    level = jnp.asarray(-2 * np.log(sigma))
    np.testing.assert_allclose(dg.clocks.edm_noise(level), 0.25 * np.log(sigma), rtol=1e-12)


def test_a_thousand_sigma_is_what_sd3_and_flux_are_told():
    sigma = np.linspace(0.01, 0.99, 21)
    clock = dg.clocks.scaled(dg.clocks.reversed_flow_time, 1000)
    level = jnp.asarray(2 * np.log((1 - sigma) / sigma))
    np.testing.assert_allclose(clock(level), 1000 * sigma, rtol=1e-12)
    assert clock == dg.clocks.scaled(dg.clocks.reversed_flow_time, 1000.0)


@pytest.mark.parametrize("shift", [1.0, 3.0, np.exp(1.15)])
def test_a_shifted_schedule_is_a_grid(shift):
    """Equal steps in u, and sigma = shift u / (1 + (shift - 1) u); the ends stay."""
    u = np.linspace(0.97, 0.05, 9)
    sigma = shift * u / (1 + (shift - 1) * u)
    level = 2 * np.log((1 - sigma) / sigma)
    knots = dg.grids.shifted(shift)(level[0], level[-1], 8)
    np.testing.assert_allclose(knots, level, rtol=1e-9, atol=1e-12)
    flow = dg.worlds.gaussian([0.0], [[1.0]], path=dg.paths.linear())
    out = dg.sample(flow, jnp.ones(1), grid=dg.grids.shifted(shift), steps=64, divergence=None)
    truth = dg.worlds.flow_map(flow, jnp.ones(1), *flow.interval) / flow.end_scale()
    np.testing.assert_allclose(out.x, truth, rtol=1e-2)


def build(log_snr):
    return dg.diffusion(
        lambda x, t: x,
        path=dg.paths.linear(),
        prediction="velocity",
        log_snr=log_snr,
        shape=(2,),
    )


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1e-3, 0.999), (0, 1000), (np.float32(0), 0.5)])
def test_a_range_that_is_a_time_is_refused(ends):
    with pytest.raises(ValueError, match=r"looks like a time: the usual range is -10 to 10"):
        build(ends)


def test_a_range_that_starts_with_signal_is_told():
    with pytest.warns(UserWarning, match="log_snr starts at 2, where the signal") as seen:
        build((2.0, 8.0))
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build((-3.0, 1.0))
        jax.jit(lambda start: build((start, 1.0)).interval)(0.0)
