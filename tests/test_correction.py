"""A correction learned from long solves, against closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import latents, world

import densityguide as dg
from densityguide.density import correction as corrections
from densityguide.density.correction import fitted
from densityguide.verify.fit_correction import Found, found_in, open_after

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
    shifted = correction.coefficients.at[0].add(0.25)
    other = dataclasses.replace(correction, coefficients=shifted)
    np.testing.assert_allclose(corrected(flow, x, other).value[0], eager - 0.25, rtol=1e-9)
    assert corrected._cache_size() == before


def test_what_is_taken_off_counts_as_a_constant(given):
    flow, correction, x, _ = given
    options = {"steps": STEPS, "solver": dg.Adams(3)}
    want = jax.grad(lambda x: dg.log_density(flow, x, **options).value)(x[0])
    one = lambda x: dg.log_density(flow, x, correction=correction)  # noqa: E731
    np.testing.assert_allclose(jax.grad(lambda x: one(x).value)(x[0]), want, rtol=1e-9)
    np.testing.assert_array_equal(jax.grad(lambda x: one(x).solver_error)(x[0]), 0.0)


def test_a_flow_cut_elsewhere_gets_no_correction(given):
    flow, correction, _, _ = given
    start, stop = flow.interval
    typical, off, coarse = correction.center, jnp.asarray(3.0), jnp.asarray(128)
    for interval, kept in (
        ((start, stop), 0),
        ((start, stop - 1.0), 128),
        ((start - 1.0, stop), 128),
    ):
        other = flow.replace(interval=interval)
        for read in (corrections.corrected, jax.jit(corrections.corrected)):
            out = read(correction, other, typical, off, coarse)
            assert out.coarse == kept
            assert (out.value == typical[0]) == bool(kept)


def test_what_long_solves_leave_open_is_their_bars_and_rounding():
    features = np.asarray([[-1e6, 0.0, 0.0, 0.0]] * 101, np.float32)
    long = Found(features, np.arange(101.0), np.zeros(101, bool))
    rounding = 4.0 * 2.0**-23 * 1e6
    np.testing.assert_allclose(open_after(long), 95.0 + rounding, rtol=1e-6)


def test_a_failed_solve_stays_a_failure(given):
    flow, correction, x, _ = given
    out = dg.log_density(flow, x[0] * jnp.nan, correction=correction)
    assert np.isnan(out.value)
    assert np.isnan(out.total_error)
    assert out.status & dg.Status.NON_FINITE


def test_probes_keep_their_own_error_bar(given):
    flow, correction, x, truth = given
    x = x[jnp.argmin(jnp.abs(truth - correction.center[0]))]
    options = {"divergence": dg.orthogonal(3), "key": jax.random.key(3)}
    before = dg.log_density(flow, x, steps=STEPS, solver=dg.Adams(3), **options)
    after = dg.log_density(flow, x, correction=correction, **options)
    assert after.standard_error == before.standard_error > 0
    assert after.total_error > after.solver_error
    exact = dg.log_density(flow, x, correction=correction).value
    exact = exact - dg.log_density(flow, x, steps=STEPS, solver=dg.Adams(3)).value
    # The probes' noise is in log p itself, hardly in what is subtracted.
    assert abs(after.value - before.value - exact) < correction.residual < abs(exact)


def test_the_fit_is_ridge_regression_judged_by_samples_left_out(given):
    rng = np.random.default_rng(0)
    known = rng.normal(size=(20, 4)) * [1.0, 10.0, 0.1, 3.0] + [5.0, 0.0, 1.0, -2.0]
    error = 2.0 + known @ [0.3, -0.02, 4.0, 0.1] + 0.05 * rng.normal(size=20)
    found = fitted(given[0], 8, 3, known, error, 0.3)
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
    predicted, width, near = jax.vmap(found.error)(jnp.asarray(known))
    np.testing.assert_allclose(predicted, error, atol=0.2)
    hat = design @ np.linalg.solve(design.T @ design, design.T)
    leverage = np.diag(hat)
    expected = np.hypot(found.width * np.sqrt(1.0 + leverage), 0.3)
    np.testing.assert_allclose(width, expected, rtol=1e-3)
    assert near.all()
    beyond = found.center + 1.01 * (known[leverage.argmax()] - found.center)
    assert not found.error(jnp.asarray(beyond))[2]
    for feature in range(4):  # none of them is idle
        blind = known.copy()
        blind[:, feature] = 1.0
        assert fitted(given[0], 8, 3, blind, error).residual > 1.5 * found.residual


def test_a_feature_that_never_changes_says_nothing(given):
    rng = np.random.default_rng(1)
    known = rng.normal(size=(30, 4))
    known[:, 2] = 7.0
    found = fitted(given[0], 8, 3, known, known[:, 0])
    moved = jnp.asarray(known[0]).at[2].add(1e-7)
    np.testing.assert_allclose(found.error(moved)[0], known[0, 0], atol=1e-2)
    assert found.error(moved)[2]


def test_the_features_are_what_the_solve_knows(given):
    flow, _, x, _ = given
    keys = jax.random.split(jax.random.key(0), 2)
    found = found_in(STEPS, 3, flow, x[:2], keys, dg.exact(), 2)
    out = plain(flow, x[:2])
    np.testing.assert_allclose(found.features[:, 0], out.value, rtol=1e-9)
    np.testing.assert_allclose(found.features[:, 1], np.mean(out.latent**2, axis=1), rtol=1e-9)
    assert (np.abs(found.features[:, 2:]) > 1e-6).all()
    np.testing.assert_allclose(found.bar, out.solver_error, rtol=1e-9)
    finer = found_in(4 * STEPS, 3, flow, x[:2], keys, dg.exact(), 2).features[:, 2:]
    assert (np.abs(finer) < np.abs(found.features[:, 2:])).all()


@pytest.mark.slow
def test_the_bar_holds_what_the_long_solve_leaves_open():
    """The error of a Gaussian is linear in the features: only the reference's own is left."""
    flow = dg.worlds.mixture([1.0], [[0.3] * 4], [[0.05]], log_snr=(-8.0, 8.0))
    correction = dg.fit_correction(flow, jax.random.key(0), count=24, reference=32)
    x = 0.3 + 0.05 * jax.random.normal(jax.random.key(1), (24, 4))
    out = corrected(flow, x, correction)
    near = np.asarray(out.status) == 0
    off = np.abs(out.value - jax.vmap(lambda x: closed(flow, x))(x))
    assert near.sum() > 12
    assert np.mean((off <= out.solver_error)[near]) >= 0.9
    assert correction.floor > correction.width


def test_a_coarse_reference_is_told(given):
    with pytest.warns(UserWarning, match="8 steps are coarse for 24 of 24 samples"):
        dg.fit_correction(given[0], jax.random.key(0), count=24, steps=2, reference=8)


def test_a_long_solve_that_fails_teaches_nothing():
    """A velocity that is nan between the knots of the short solve."""
    holed = dg.cnf(
        lambda x, t: jnp.where(jnp.abs(t - 0.22) < 0.004, jnp.nan, -x),
        prior=dg.priors.normal((2,)),
        interval=(0.0, 1.0),
        shape=(2,),
    )
    x = jax.random.normal(jax.random.key(0), (24, 2))
    with pytest.raises(ValueError, match="24 of 24 samples were not finite: take more steps"):
        dg.fit_correction(holed, jax.random.key(0), steps=4, reference=256, x=x)


def test_samples_that_are_not_finite_are_left_out(given):
    flow, _, x, _ = given
    holed = x[:26].at[0].set(jnp.nan)
    with pytest.warns(UserWarning, match="1 of 26 samples were not finite and are left out"):
        correction = dg.fit_correction(flow, jax.random.key(0), steps=STEPS, x=holed, reference=96)
    assert correction.count == 25


@pytest.mark.slow
def test_probes_teach_as_much_as_exact_traces(given):
    flow, correction, x, truth = given
    two = dg.fit_correction(
        flow,
        jax.random.key(0),
        steps=STEPS,
        order=4,
        count=40,
        reference=96,
        divergence=dg.orthogonal(2),
    )
    assert (two.order, two.count) == (4, 40)
    out = corrected(flow, x, two)
    near = np.asarray(out.status) == 0
    off = np.abs(out.value - truth)[near]
    assert np.mean(off <= out.total_error[near]) >= 0.85
    assert np.sqrt(np.mean(off**2)) < 2.0 * correction.residual


def test_samples_of_ones_own_can_be_learned_from(given):
    flow, correction, x, _ = given
    one = dg.fit_correction(flow, jax.random.key(0), steps=STEPS, x=1.3 * x[:24], reference=32)
    assert one.count == 24
    assert not np.allclose(one.center, correction.center, rtol=0.05)


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
