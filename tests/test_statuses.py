"""Bad values known only while tracing become a status of their own sample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from makers import Uniform, bare, key, world, x

import densityguide as dg

X64 = False


@pytest.mark.parametrize(
    ("make", "good", "bad"),
    [
        (dg.quantile, 0.6, (0.0, 1.0, 1.5, -2.0, np.nan)),
        (dg.pinned, 0.6, (1.0, -2.0)),
        (dg.target, -2.0, (np.inf, np.nan)),
        (dg.budget, 1.0, (np.nan,)),
    ],
)
def test_bad_traced_values_are_a_status_of_their_own_sample(make, good, bad):
    values = jnp.asarray([good, *bad, good])

    def one(value):
        return dg.sample(world(), x(), guidance=make(value), steps=8)

    out = jax.jit(jax.vmap(one))(values)
    invalid = (np.asarray(out.status) & dg.Status.INVALID) != 0
    np.testing.assert_array_equal(invalid, [False, *(True for _ in bad), False])
    assert np.isfinite(out.x[0]).all()
    np.testing.assert_array_equal(out.x[0], out.x[-1])
    assert np.isfinite(out.x).all()
    claimed = np.isfinite(np.asarray(out.log_density))
    assert claimed[0]
    assert claimed[-1]


@pytest.mark.parametrize(
    ("run", "good", "bad"),
    [
        (lambda v: dg.sample(world(), x(), guidance=dg.quantile(0.7, cap=v), steps=8), 4.0, -1.0),
        (lambda v: dg.sample(world(), x(), guidance=dg.quantile(0.7, cap=v), steps=8), 4.0, np.nan),
        (lambda v: dg.sample(world(), x(), guidance=dg.target(-2.0, gain=v), steps=8), 1.0, -3.0),
        (
            lambda v: dg.sample(world(), x(), noise=dg.noise.constant(v), key=key(), steps=8),
            0.1,
            -0.1,
        ),
        (lambda v: dg.sample(world(), x(), grid=jnp.stack([-4.0, v, 3.0])), 0.0, 5.0),
        (
            lambda v: dg.sample(
                world(), x(), guidance=dg.schedule(dg.knots([-4, 3], [-9, -3])._replace(
                    times=jnp.stack([jnp.asarray(-4.0), v])
                )), steps=8
            ),
            3.0,
            1.0,
        ),
        (lambda v: dg.high_density(world(), x(), switch=v, steps=8), 0.0, 20.0),
        (lambda v: dg.track_mode(world(), x(), start=v, steps=8), 0.0, -20.0),
        (lambda v: dg.match_log_density(world(), x(), v, scan=3, steps=4), -2.0, np.nan),
    ],
)  # fmt: skip
def test_bad_traced_numbers_become_a_status(run, good, bad):
    status = jax.jit(lambda v: run(v).status)
    assert not int(status(jnp.asarray(good))) & dg.Status.INVALID
    assert int(status(jnp.asarray(bad))) & dg.Status.INVALID


def test_no_verb_turns_a_nan_into_an_answer():
    out = dg.elbo(world(), jnp.asarray([np.nan, 0.0]), key())
    assert int(out.status) == dg.Status.NON_FINITE


def test_a_users_own_prior_serves_when_it_is_a_pytree():
    out = dg.sample(bare(prior=Uniform()), x(), steps=24)
    np.testing.assert_allclose(out.x, x() * np.exp(-1.0), rtol=1e-3)


@pytest.mark.slow
def test_an_unlimited_cap_has_gradients():
    def value(z):
        guidance = dg.quantile(0.7, cap=jnp.inf)
        return dg.sample(world(), z, guidance=guidance, steps=4).log_density

    assert np.isfinite(jax.grad(value)(x())).all()


@pytest.mark.parametrize("grid", [dg.grids.ddpm, dg.grids.edm, dg.grids.cosine])
def test_every_named_grid_takes_traced_ends(grid):
    knots = jax.jit(lambda flow: grid(*flow.interval, 8))(world())
    np.testing.assert_allclose(knots, grid(-4.0, 3.0, 8), rtol=1e-5, atol=1e-5)


def test_status_decodes():
    out = dg.sample(world(), x(), guidance=dg.budget(500.0), steps=8)
    assert dg.Status.UNMET in dg.Status(int(out.status))
    assert float(out.unmet) > 1.0
