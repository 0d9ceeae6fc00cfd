"""A given sample under the dial: the plain flow brings it back, guidance moves its log p."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_form, latents, world

import densityguide as dg
from densityguide.steer import decode as decoding
from densityguide.steer import turn as turning

QUANTILES = (0.3, 0.5, 0.8)
DEPTHS = (-6.0, 0.0, 4.0)


@pytest.fixture(scope="module")
def flow():
    return world("mixture12", ends=(-6.0, 4.0))


@pytest.fixture(scope="module")
def x(flow):
    return jax.jit(partial(dg.sample, divergence=None, steps=32))(flow, latents(flow, 1)[0]).x


@pytest.fixture(scope="module")
def grid(flow, x):
    """Every quantile at every depth, [quantile, depth]."""

    @jax.jit
    @chex.assert_max_traces(n=1)
    def one(flow, x, q, depth):
        return dg.edit(flow, x, guidance=dg.quantile(q), depth=depth, steps=48)

    found = [one(flow, x, q, depth) for q in QUANTILES for depth in DEPTHS]
    return jax.tree.map(lambda *a: np.stack(a).reshape(3, 3, *a[0].shape), *found)


def test_log_density_is_the_closed_form(flow, x, grid):
    exact = np.asarray(closed_form(flow, jnp.asarray(grid.x.reshape(-1, 12)))).reshape(3, 3)
    assert (np.abs(grid.log_density - exact) <= grid.total_error).all()
    before = float(closed_form(flow, x[None])[0])
    assert (np.abs(grid.before - before) <= grid.before_error).all()
    assert grid.total_error.max() < 0.02, "an error bar that says something"


def test_larger_q_is_larger_log_density(grid):
    assert (np.diff(grid.log_density[:, :2], axis=0) > 0.5).all()


def test_the_middle_of_the_dial_gives_the_sample_back(grid):
    np.testing.assert_allclose(grid.moved[1], grid.round_trip[1], rtol=1e-6, atol=1e-12)
    assert (grid.moved[1] < 1e-2 * grid.moved[2]).all()
    assert (grid.round_trip == grid.round_trip[:1]).all(), "the way back knows nothing of q"


def test_a_shallow_edit_moves_less(grid):
    """At the data end nothing is left to be guided."""
    for row in (0, 2):
        assert grid.moved[row, 0] > 1.5 * grid.moved[row, 1]
        assert grid.moved[row, 2] < 2e-3


@pytest.mark.slow
def test_the_default_depth_is_the_noise_end(flow, x, grid):
    out = jax.jit(lambda f, x: dg.edit(f, x, guidance=dg.quantile(0.8), steps=48))(flow, x)
    np.testing.assert_allclose(out.x, grid.x[2, 0], rtol=1e-9)
    np.testing.assert_allclose(out.before, grid.before[2, 0], rtol=1e-12)
    assert int(out.evaluations) < int(grid.evaluations[2, 0]), "no lower part to be solved"


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_round_trip_has_the_order_of_the_solver(flow, x, order):
    def error(steps):
        options = {"solver": dg.Adams(order), "steps": steps, "divergence": None}
        return dg.edit(flow, x, guidance=None, depth=-1.0, **options).moved

    coarse, fine = (float(jax.jit(error, static_argnums=0)(n)) for n in (64, 128))
    assert np.log2(coarse / fine) > order - 0.3


@pytest.mark.slow
def test_a_target_is_reached_from_a_depth(flow, x):
    """The schedule begins at log p of the state there."""

    @jax.jit
    def one(goal):
        return dg.edit(flow, x, guidance=dg.target(goal), depth=-1.0, steps=96)

    before = float(closed_form(flow, x[None])[0])
    for goal in (before - 2.0, before + 2.0):
        out = one(goal)
        assert abs(float(out.log_density) - goal) < 0.01
        assert abs(float(out.log_density) - goal) <= float(out.total_error + out.tracked_error)
        assert int(out.status) == 0


def test_jit_and_vmap_are_eager(flow, x):
    def one(q, depth):
        out = dg.edit(flow, x, guidance=dg.quantile(q), depth=depth, steps=8, divergence=None)
        return out.x, out.moved, out.round_trip, out.status

    q, depth = jnp.asarray([0.3, 0.8]), jnp.asarray([-2.0, -6.0])
    together = jax.jit(jax.vmap(one))(q, depth)
    for row in range(2):
        alone = one(float(q[row]), float(depth[row]))
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[row], b, rtol=1e-9)


def test_numbers_never_recompile(flow, x):
    def one(q, depth):
        dg.edit(flow, x, guidance=dg.quantile(q), depth=depth, steps=8, divergence=None)

    one(0.3, -2.0)
    before = decoding.decode._cache_size()
    for q, depth in ((0.7, 1), (np.float32(0.2), -6.0), (jnp.asarray(0.9), np.asarray(4.0))):
        one(q, depth)
    assert decoding.decode._cache_size() == before


@pytest.mark.slow
def test_what_is_reported_does_not_move_the_sample(flow, x):
    """Not even from a depth, where a target begins at a log p that has to be found."""

    @partial(jax.jit, static_argnames="trace")
    def one(trace):
        options = {"depth": -1.0, "steering": dg.hutchinson(2), "key": jax.random.key(3)}
        return dg.edit(flow, x, guidance=dg.target(-15.0), divergence=trace, steps=12, **options).x

    np.testing.assert_allclose(one(dg.hutchinson(3)), one(None), rtol=1e-12)


def test_without_a_trace_log_density_is_absent(flow, x):
    out = dg.edit(flow, x, guidance=dg.quantile(0.6), divergence=None, steps=8)
    assert out.log_density is out.total_error is out.before is out.tracked is None
    assert int(out.tangents) == 0
    bare = dg.edit(flow, x, guidance=dg.quantile(0.6), divergence=None, steps=8, measure=False)
    assert bare.round_trip is None
    assert int(out.evaluations - bare.evaluations) == 9
    np.testing.assert_array_equal(bare.x, out.x)


@pytest.mark.slow
def test_a_flow_in_its_own_time(flow):
    """Flow matching as a continuous normalizing flow: the depth is its time, and its prior may be
    one that gives the state in between no density."""
    still = dg.cnf(
        lambda x, t: -0.5 * x,
        prior=dg.priors.normal((3,)),
        interval=(1.0, 0.0),
        shape=(3,),
        score=lambda x, t: -x * jnp.exp(-(1.0 - t)),
    )
    x = jnp.asarray([0.4, -1.0, 0.2])
    for depth in (None, 0.5):
        out = dg.edit(still, x, guidance=dg.budget(0.3), depth=depth, steps=16)
        # dx/ds = x/2 for s = 1 - t: a normal of variance e.
        exact = -0.5 * jnp.sum(out.x**2) / jnp.e - 1.5 * jnp.log(2 * jnp.pi * jnp.e)
        np.testing.assert_allclose(out.log_density, exact, atol=1e-5)
        np.testing.assert_allclose(out.log_density - out.before, 0.3 - out.unmet, atol=1e-4)


def test_a_traced_depth_outside_is_a_status(flow, x):
    @jax.jit
    def one(depth):
        return dg.edit(flow, x, guidance=None, depth=depth, steps=8, divergence=None)

    for depth, bad in ((-6.0, False), (4.0, False), (-7.0, True), (5.0, True), (np.nan, True)):
        out = one(depth)
        assert bool(int(out.status) & int(dg.Status.INVALID)) == bad
        assert np.isfinite(np.asarray(out.x)).all()


@pytest.mark.slow
def test_noise_varies_what_guidance_left(flow, x):
    @jax.jit
    def one(key):
        return dg.edit(flow, x, guidance=None, noise=dg.noise.constant(0.3), steps=200, key=key)

    first, second = (one(jax.random.key(seed)) for seed in (0, 1))
    assert float(jnp.max(jnp.abs(first.x - second.x))) > 0.05
    assert float(first.round_trip) < 1e-2 * float(first.moved)
    for out in (first, second):
        # The noise moves along the level sets: what was tracked is what is found.
        np.testing.assert_allclose(out.log_density, out.tracked, atol=0.1)


def test_the_parts_cover_the_flow(flow):
    cut = turning.parts(flow, -2.0)
    np.testing.assert_allclose(cut.upper.interval, (-2.0, 4.0))
    np.testing.assert_allclose(cut.lower.interval, (-6.0, -2.0))
    assert not bool(cut.whole)
    assert bool(turning.parts(flow, -6.0).whole)
