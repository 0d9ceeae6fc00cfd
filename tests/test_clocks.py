"""Clocks: each is the inverse of its schedule and moves one way."""

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
