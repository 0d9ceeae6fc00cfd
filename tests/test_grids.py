"""Step grids: exact ends, rising knots, equal steps in the coordinate each is named after."""

import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.flow.clocks import ddpm_log_snr

TABLE = np.linspace(1e-4, 0.02, 1000)


def ddpm_index(t):
    table = ddpm_log_snr()
    return np.interp(t, table[::-1], np.arange(999.0, -1.0, -1.0))


COORDINATES = {
    "uniform": lambda t: t,
    "cosine": lambda t: 2 / np.pi * np.arctan(np.exp(-t / 2)),
    "edm": lambda t: np.exp(-t / 2) ** (1 / 7),
    "flow_time": lambda t: 1 / (1 + np.exp(-t / 2)),
    "ddpm": ddpm_index,
}


@pytest.mark.parametrize("ends", [(-9.0, 8.0), (-4.0, 3.5)])
@pytest.mark.parametrize("name", COORDINATES)
def test_equal_steps_in_its_own_coordinate(name, ends):
    knots = np.asarray(getattr(dg.grids, name)(*ends, 37))
    assert knots.shape == (38,)
    assert (knots[0], knots[-1]) == ends
    assert (np.diff(knots) > 0).all()
    moves = np.diff(COORDINATES[name](knots))
    np.testing.assert_allclose(moves, moves.mean(), rtol=1e-7)


def test_edm_takes_rho_and_ddpm_takes_betas():
    knots = np.asarray(dg.grids.edm(-6.0, 6.0, 10, rho=3.0))
    moves = np.diff(np.exp(-knots / 6))
    np.testing.assert_allclose(moves, moves.mean(), rtol=1e-10)
    betas = np.full(50, 0.1)
    table = ddpm_log_snr(betas)
    knots = np.asarray(dg.grids.ddpm(table[-1], table[0], 49, betas=betas))
    np.testing.assert_allclose(knots, table[::-1], rtol=1e-10)


def test_ddpm_grid_goes_on_beyond_its_table():
    knots = np.asarray(dg.grids.ddpm(-12.0, 11.0, 64))
    assert np.isfinite(knots).all()
    assert (np.diff(knots) > 0).all()


def test_eased_steps_shrink_to_three_tenths_at_both_ends():
    moves = np.diff(np.asarray(dg.grids.eased(0.0, 1.0, 1000))) * 1000
    np.testing.assert_allclose([moves[0], moves.max(), moves[-1]], [0.3, 1.7, 0.3], atol=1e-4)
    assert (moves > 0).all()


@pytest.mark.parametrize("name", [*COORDINATES, "eased"])
def test_single_precision_keeps_ends_and_order(name):
    start, stop = jnp.float32(-10.0), jnp.float32(10.0)
    knots = getattr(dg.grids, name)(start, stop, 256)
    assert (float(knots[0]), float(knots[-1])) == (-10.0, 10.0)
    assert bool(jnp.isfinite(knots).all())
    assert bool((jnp.diff(knots) > 0).all())
