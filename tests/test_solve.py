"""The solver's promises: order, evaluations, grids, and failures as values."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import TIGHT, closed_form, decode, encode, latents, rms, world

import densityguide as dg

SOLVERS = {
    "euler": diffrax.Euler(),
    "heun": diffrax.Heun(),
    "bosh3": diffrax.Bosh3(),
    "tsit5": diffrax.Tsit5(),
}
ENDS = (-6.0, 4.0)


@pytest.fixture(scope="module")
def truth():
    flow = world("mixture12", "vp", ENDS)
    x = latents(flow, 16)
    return flow, x, decode(flow, x, **TIGHT)


@pytest.mark.parametrize(
    ("name", "steps", "order"), [("euler", 400, 1), ("heun", 160, 2), ("bosh3", 120, 3)]
)
def test_order_of_convergence_of_x_and_log_density(truth, name, steps, order):
    flow, x, exact = truth
    errors = []
    for n in (steps, 2 * steps):
        out = decode(flow, x, steps=n, solver=SOLVERS[name])
        errors.append((rms(out.x - exact.x), rms(out.log_density - exact.log_density)))
    errors = np.asarray(errors)
    assert errors.min() > 1e-11  # above rounding, or the order means nothing
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.2)


@pytest.mark.slow
def test_fifth_order_is_at_least_that(truth):
    """Tsit5's leading error term is made small on purpose: until rounding it falls faster, about
    as the sixth power here, so its order is a lower bound."""
    flow, x, exact = truth
    errors = []
    for n in (30, 60):
        out = decode(flow, x, steps=n, solver=SOLVERS["tsit5"])
        errors.append((rms(out.x - exact.x), rms(out.log_density - exact.log_density)))
    assert np.log2(np.divide(*errors)).min() > 4.8


def test_there_and_back(truth):
    flow, x, out = truth
    back = encode(flow, out.x, **TIGHT)
    np.testing.assert_allclose(back.latent, x, atol=1e-8)
    np.testing.assert_allclose(back.value, out.log_density, atol=1e-8)
    np.testing.assert_allclose(back.value, closed_form(flow, out.x), atol=1e-8)


def breaking(params, x, t):
    """Standard normal in log-SNR at unit scale, but nan where x[0] > params late in the solve."""
    bad = (x[0] > params) & (t > 0.0)
    return jnp.where(bad, jnp.nan, -x)


@pytest.mark.parametrize("options", [{"steps": 20}, {"rtol": 1e-5}], ids=["fixed", "adaptive"])
def test_a_failure_is_the_status_of_one_sample(options):
    flow = dg.diffusion(
        breaking,
        params=jnp.asarray(0.5),
        path=dg.paths.variance_preserving(),
        prediction="score",
        log_snr=(-4.0, 4.0),
        shape=(3,),
    )
    x = jnp.asarray([[0.0, 1.0, 2.0], [3.0, 1.0, -1.0], [-2.0, 0.3, 0.4]])
    out = decode(flow, x, **options)
    # An adaptive solve never accepts the bad step: its step size collapses instead.
    kind = dg.Status.NON_FINITE if "steps" in options else dg.Status.MAX_STEPS
    np.testing.assert_array_equal(out.status, [0, kind, 0])
    failed = np.asarray(out.status) != 0
    assert np.isfinite(out.x).all()
    np.testing.assert_array_equal(np.isnan(out.log_density), failed)
    alone = decode(flow, x[jnp.asarray([0, 2])], **options)
    np.testing.assert_allclose(out.x[jnp.asarray([0, 2])], alone.x, rtol=1e-12)
    np.testing.assert_allclose(out.log_density[jnp.asarray([0, 2])], alone.log_density)
    for key in ("status", "evaluations"):
        np.testing.assert_array_equal(getattr(out, key)[jnp.asarray([0, 2])], getattr(alone, key))


def test_running_out_of_steps_is_a_status(truth):
    flow, x, exact = truth
    options = TIGHT | {"max_steps": 5}
    out = decode(flow, x, **options)
    assert (np.asarray(out.status) == dg.Status.MAX_STEPS).all()
    assert np.isfinite(out.x).all()
    assert (np.asarray(exact.status) == dg.Status.OK).all()


@pytest.mark.slow
def test_tolerance_is_met_by_log_density_on_its_own(truth):
    """A loose x and a tight log p: log p's own tolerance decides the steps."""
    flow, x, _exact = truth
    loose = decode(flow, x, rtol=1e-9, atol=1e-3)
    tight = decode(flow, x, rtol=1e-9, atol=1e-3, log_density_atol=1e-7)
    assert (np.asarray(tight.evaluations) > 1.4 * np.asarray(loose.evaluations)).all()
    gap = rms(loose.log_density - closed_form(flow, loose.x))
    assert rms(tight.log_density - closed_form(flow, tight.x)) < 0.1 * gap


def counted(flow, counter):
    def count(params, x, t):
        jax.debug.callback(lambda: counter.append(1))
        return flow.field(params, x, t)[1]

    return dg.diffusion(
        count,
        params=flow.params,
        path=flow.path,
        prediction="score",
        shape=flow.shape,
        log_snr=ENDS,
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_evaluations_reported_are_evaluations_made(name):
    counter = []
    flow = counted(world("mixture12", "vp", ENDS), counter)
    x = dg.latent(flow, jax.random.key(0))
    for options in ({"steps": 7}, {"rtol": 1e-3}):
        if name == "euler" and "rtol" in options:
            continue
        counter.clear()
        out = dg.sample(flow, x, divergence=None, solver=SOLVERS[name], **options)
        jax.effects_barrier()
        assert len(counter) == int(out.evaluations)


def test_knots_given_as_an_array_are_the_grid(truth):
    flow, x, _ = truth
    named = dg.sample(flow, x[0], grid=dg.grids.edm, steps=24, divergence=None)
    given = dg.sample(flow, x[0], grid=dg.grids.edm(*flow.interval, 24), divergence=None)
    np.testing.assert_array_equal(named.x, given.x)
    uniform = dg.sample(flow, x[0], steps=24, divergence=None)
    assert float(jnp.abs(uniform.x - named.x).max()) > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0), (2.0, -3.0)])
@pytest.mark.parametrize("options", [{"steps": 40, "solver": diffrax.Tsit5()}, {"rtol": 1e-9}])
def test_any_cnf_in_either_direction_of_time(ends, options):
    """dx/dt = A x: x_0 = expm(A span) x_T, log p = log prior - tr A span."""
    matrix = jnp.asarray([[0.3, 1.0], [-0.5, 0.4]])
    flow = dg.cnf(
        lambda A, x, t: A @ x,
        params=matrix,
        prior=dg.priors.normal((2,), 1.3),
        interval=ends,
        shape=(2,),
    )
    span = ends[1] - ends[0]
    x = jnp.asarray([0.2, -1.0])
    out = dg.sample(flow, x, **options)
    end = jax.scipy.linalg.expm(matrix * span) @ x
    np.testing.assert_allclose(out.x, end, rtol=1e-7)
    expected = flow.prior.log_prob(x) - 0.7 * span
    np.testing.assert_allclose(out.log_density, expected, rtol=1e-8)
    back = dg.log_density(flow, out.x, **options)
    np.testing.assert_allclose(back.latent, x, rtol=1e-6)
    np.testing.assert_allclose(back.value, expected, rtol=1e-7)
