"""From one sample to another: the arc, the ends, and log p of every frame as it was asked for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_form, gaussian, latents

import densityguide as dg
from densityguide.steer import interpolate as interpolating
from densityguide.steer.interpolate import spherical

OPTIONS = {"frames": 5, "steps": 48}


@pytest.fixture(scope="module")
def flow():
    return gaussian(3)


@pytest.fixture(scope="module")
def ends(flow):
    decode = jax.jit(jax.vmap(lambda x: dg.sample(flow, x, divergence=None, steps=64).x))
    return decode(latents(flow, 2, seed=4))


@pytest.fixture(scope="module")
def film(flow, ends):
    return dg.interpolate(flow, *ends, **OPTIONS)


def test_the_arc_is_spherical_in_direction_and_linear_in_norm():
    u, v = jnp.asarray([2.0, 0.0, 0.0]), jnp.asarray([0.0, 0.0, 4.0])
    middle = spherical(u, v, jnp.asarray(0.5))
    np.testing.assert_allclose(middle, 3.0 * np.asarray([0.5, 0.0, 0.5]) * 2**0.5, rtol=1e-12)
    np.testing.assert_allclose(spherical(u, v, jnp.asarray(0.0)), u, atol=1e-12)
    np.testing.assert_allclose(spherical(u, v, jnp.asarray(1.0)), v, atol=1e-12)
    third = spherical(u, v, jnp.asarray(1 / 3))
    np.testing.assert_allclose(third[2] / third[0], np.tan(np.pi / 6), rtol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, 0.0])
def test_latents_of_one_line_take_the_chord(factor):
    u = jnp.asarray([0.3, -1.2, 0.4])
    np.testing.assert_allclose(
        spherical(u, factor * u, jnp.asarray(0.25)), (0.75 + 0.25 * factor) * u, atol=1e-12
    )
    assert np.isfinite(np.asarray(jax.jacobian(spherical)(u, factor * u, jnp.asarray(0.25)))).all()


def test_log_density_runs_straight_from_one_to_the_other(flow, ends, film):
    exact = np.asarray(closed_form(flow, film.x))
    given = np.asarray(closed_form(flow, ends))
    assert abs(given[1] - given[0]) > 0.3, "or there is nothing to see"
    np.testing.assert_allclose(film.requested, np.linspace(*given, 5), atol=1e-3)
    np.testing.assert_allclose(film.log_density, film.requested, atol=1e-6)
    assert (np.abs(film.log_density - exact) <= np.asarray(film.total_error) + 1e-9).all()
    assert not np.asarray(film.status & int(dg.Status.NO_ROOT)).any()


def test_the_ends_are_the_given_samples(ends, film):
    off = np.linalg.norm(film.x[jnp.asarray([0, -1])] - ends, axis=1)
    assert (off < 1e-3 * np.linalg.norm(ends[1] - ends[0])).all(), "a round trip's error"
    steps = np.linalg.norm(np.diff(film.x, axis=0), axis=1)
    assert steps.max() < 3.0 * steps.min(), "no frame jumps"


@pytest.mark.slow
def test_all_frames_at_one_log_density(flow, ends, film):
    goal = float(film.requested.mean()) + 0.4
    out = dg.interpolate(flow, *ends, log_density=goal, **OPTIONS)
    np.testing.assert_allclose(closed_form(flow, out.x), goal, atol=1e-3)
    np.testing.assert_array_equal(out.requested, np.full(5, goal))
    assert float(out.moved.max()) > float(film.moved.max())


@pytest.mark.slow
def test_what_no_sample_has_is_said(flow, ends):
    """A density has a greatest value."""
    out = dg.interpolate(flow, *ends, log_density=50.0, frames=2, steps=24)
    assert (np.asarray(out.status) & int(dg.Status.NO_ROOT)).all()
    assert np.isfinite(np.asarray(out.x)).all()
    assert (np.asarray(out.log_density) < 50.0).all()


@pytest.mark.slow
def test_numbers_never_recompile(flow, ends, film):
    before = interpolating._interpolate._cache_size()
    for goal in (-3, -2.5, np.float32(-2.0)):
        dg.interpolate(flow, *ends, log_density=goal, **OPTIONS)
    assert interpolating._interpolate._cache_size() <= before + 1
    dg.interpolate(flow, *ends[::-1], **OPTIONS)
    assert interpolating._interpolate._cache_size() <= before + 1


@pytest.mark.slow
def test_jit_and_vmap_are_eager(flow, ends, film):
    one = partial(dg.interpolate, **OPTIONS)
    jitted = jax.jit(one)(flow, *ends)
    pairs = jnp.stack([ends, ends[::-1]])
    many = jax.vmap(lambda pair: one(flow, *pair))(pairs)
    np.testing.assert_allclose(jitted.x, film.x, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(many.x[0], film.x, rtol=1e-6, atol=1e-6)
    # The way back is the same way.
    np.testing.assert_allclose(many.x[1, ::-1], film.x, atol=1e-3)


@pytest.mark.slow
def test_a_flow_without_a_score_scales_its_latents(flow, ends):
    bare = dg.cnf(
        lambda p, x, t: flow.velocity(x, t),
        params=(),
        prior=flow.prior,
        interval=(-6.0, 6.0),
        shape=(3,),
    )
    a, b = ends * flow.end_scale()
    out = dg.interpolate(bare, a, b, frames=3, steps=48)
    np.testing.assert_allclose(out.log_density, out.requested, atol=1e-5)
    np.testing.assert_allclose(out.x[jnp.asarray([0, -1])], jnp.stack([a, b]), atol=1e-2)
