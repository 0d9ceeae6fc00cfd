"""A correction learned from long solves, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import latents, world

import densityguide as dg
from densityguide.density.correction import fitted

STEPS = 8


@pytest.fixture(scope="module")
def given():
    """(flow, correction, data it has not seen, their closed form)."""
    flow = world("mixture12", "vp")
    correction = dg.fit_correction(flow, jax.random.key(0), steps=STEPS, count=40, reference=96)
    one = lambda z: dg.sample(flow, z, divergence=None).x  # noqa: E731
    x = jax.jit(jax.vmap(one))(latents(flow, 40))
    return flow, correction, x, jax.vmap(lambda x: closed(flow, x))(x)


def closed(flow, x):
    return flow.log_density(flow.end_scale() * x, flow.interval[1]) + flow.log_volume()


@jax.jit
def plain(flow, x):
    return jax.vmap(lambda x: dg.log_density(flow, x, steps=STEPS, solver=dg.Adams(3)))(x)


@jax.jit
def corrected(flow, x, correction):
    return jax.vmap(lambda x: dg.log_density(flow, x, correction=correction))(x)


def test_errors_shrink_on_other_samples_and_the_bar_covers(given):
    flow, correction, x, truth = given
    before, after = plain(flow, x), corrected(flow, x, correction)
    near = np.asarray(after.status) == 0
    assert near.mean() > 0.8
    errors = np.abs(before.value - truth)[near], np.abs(after.value - truth)[near]
    rms = [np.sqrt(np.mean(error**2)) for error in errors]
    assert rms[1] < rms[0] / 3.0
    assert 0.5 < rms[1] / correction.residual < 1.5
    assert np.mean(errors[1] <= after.total_error[near]) >= 0.9
    assert np.median(after.total_error) < 0.5 * np.median(before.total_error)
    assert (np.asarray(before.status) == dg.Status.COARSE).mean() > 0.9
    assert (after.evaluations == STEPS + 1).all()
    np.testing.assert_allclose(after.latent, before.latent, rtol=1e-9)


def test_a_sample_unlike_those_of_the_fit_is_left_as_it_was(given):
    flow, correction, x, _ = given
    before, after = plain(flow, 3.0 * x), corrected(flow, 3.0 * x, correction)
    for name in ("value", "solver_error", "total_error", "status"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), 1e-9, err_msg=name)


def test_it_is_an_argument_and_passes_through_jit(given):
    flow, correction, x, _ = given
    eager = dg.log_density(flow, x[0], correction=correction).value
    np.testing.assert_allclose(corrected(flow, x, correction).value[0], eager, rtol=1e-9)
    before = corrected._cache_size()
    other = jax.tree.map(lambda leaf: 1.01 * leaf, correction)
    assert not np.allclose(corrected(flow, x, other).value[0], eager, rtol=1e-9)
    assert corrected._cache_size() == before
    slope = jax.grad(lambda x: dg.log_density(flow, x, correction=correction).value)(x[0])
    assert np.isfinite(slope).all()


def test_probes_keep_their_own_error_bar(given):
    flow, correction, x, _ = given
    options = {"divergence": dg.orthogonal(3), "key": jax.random.key(3)}
    before = dg.log_density(flow, x[0], steps=STEPS, solver=dg.Adams(3), **options)
    after = dg.log_density(flow, x[0], correction=correction, **options)
    assert after.standard_error == before.standard_error > 0
    assert after.total_error > after.solver_error
    exact = dg.log_density(flow, x[0], correction=correction).value
    exact = exact - dg.log_density(flow, x[0], steps=STEPS, solver=dg.Adams(3)).value
    # The probes' noise is in log p itself, hardly in what is subtracted.
    assert abs(after.value - before.value - exact) < correction.residual < abs(exact)


def test_the_fit_is_ridge_regression_judged_by_samples_left_out():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(20, 4)) * [1.0, 10.0, 0.1, 3.0] + [5.0, 0.0, 1.0, -2.0]
    error = 2.0 + known @ [0.3, -0.02, 4.0, 0.0] + 0.05 * rng.normal(size=20)
    found = fitted(8, 3, known, error)
    design = np.column_stack([np.ones(20), (known - found.center) / found.scale])
    residuals = {}
    for penalty in (0.01, 0.1, 1.0, 10.0, 100.0):
        weight = penalty * np.diag([0.0, 1.0, 1.0, 1.0, 1.0])
        left = []
        for i in range(20):
            rest = np.arange(20) != i
            a, b = design[rest], error[rest]
            left.append(error[i] - design[i] @ np.linalg.solve(a.T @ a + weight, a.T @ b))
        residuals[penalty] = np.sqrt(np.mean(np.square(left)))
    np.testing.assert_allclose(found.residual, min(residuals.values()), rtol=1e-9)
    np.testing.assert_allclose(found.width / found.residual, 2.131, rtol=1e-3)  # t of 15 degrees
    predicted = jax.vmap(lambda row: found.error(row)[0])(jnp.asarray(known))
    np.testing.assert_allclose(predicted, error, atol=0.2)
    near = jax.vmap(lambda row: found.error(row)[2])(jnp.asarray(known))
    assert near.all()
    assert not found.error(jnp.asarray(known[0] + 100.0))[2]
    farthest = np.argmax([row @ found.inverse @ row for row in design])
    beyond = found.center + 1.01 * (known[farthest] - found.center)
    assert not found.error(jnp.asarray(beyond))[2]


def test_samples_of_ones_own_can_be_learned_from(given):
    flow, correction, x, _ = given
    one = dg.fit_correction(flow, jax.random.key(0), steps=STEPS, x=1.3 * x[:16], reference=32)
    assert one.count == 16
    assert not np.allclose(one.center, correction.center, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 8}, "correction= fixes the solve, 8 steps of Adams.3.: drop"),
        ({"solver": dg.Adams(3)}, "correction= fixes the solve"),
        ({"tolerance": 0.1}, "correction= fixes the solve"),
        ({"correction": 0.3}, "must come from densityguide.fit_correction, got float"),
    ],
)
def test_a_solve_of_another_kind_is_refused(given, options, message):
    flow, correction, x, _ = given
    with pytest.raises(ValueError, match=message):
        dg.log_density(flow, x[0], **{"correction": correction} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 8}, "count must be an integer of at least 16, got 8"),
        ({"steps": 1}, "steps must be an integer of at least 2"),
        ({"reference": 31}, "reference must be at least four times steps, got 31 and 8"),
        ({"x": jnp.zeros((3, 12))}, r"x must be .n >= 16, 12., got .3, 12."),
        ({"x": jnp.full((16, 12), jnp.nan), "reference": 32}, "16 of 16 samples were not finite"),
    ],
)
def test_a_fit_of_too_little_is_refused(given, options, message):
    with pytest.raises(ValueError, match=message):
        dg.fit_correction(given[0], jax.random.key(0), **options)


def test_a_fit_under_jit_is_refused(given):
    fit = jax.jit(lambda key: dg.fit_correction(given[0], key).residual)
    with pytest.raises(ValueError, match="outside jit and vmap: pass its result in"):
        fit(jax.random.key(0))


def test_a_sample_measured_in_a_few_steps_is_the_same_sample(given):
    flow, correction, _, _ = given
    z = latents(flow, 1)[0]
    plain = dg.sample(flow, z, divergence=None, steps=32)
    few = dg.sample(flow, z, correction=correction, steps=32)
    np.testing.assert_array_equal(few.x, plain.x)
    found = dg.log_density(flow, plain.x, correction=correction)
    for name in ("log_density", "solver_error", "total_error"):
        want = found.value if name == "log_density" else getattr(found, name)
        np.testing.assert_allclose(getattr(few, name), want, rtol=1e-9)
    assert few.tracked is None
    assert few.evaluations == plain.evaluations + STEPS + 1
    assert few.tangents == 12 * (STEPS + 1)


def test_a_guided_sample_keeps_what_was_tracked(given):
    flow, correction, _, _ = given
    options = {"guidance": dg.quantile(0.6), "steps": 32}
    z = latents(flow, 1)[0]
    long, few = (dg.sample(flow, z, **options, **more) for more in ({}, {"correction": correction}))
    np.testing.assert_array_equal(few.x, long.x)
    np.testing.assert_allclose(few.tracked, long.tracked, rtol=1e-12)
    assert long.evaluations - few.evaluations == 32 - STEPS
    assert abs(few.log_density - long.log_density) < few.total_error + long.total_error


@pytest.mark.parametrize("options", [{"measure": False}, {"divergence": None}, {"tolerance": 0.1}])
def test_a_sample_that_measures_nothing_takes_no_correction(given, options):
    flow, correction, _, _ = given
    with pytest.raises(ValueError, match="correction= is of measured log p: pass divergence="):
        dg.sample(flow, latents(flow, 1)[0], correction=correction, **options)
