"""A solve's own estimate of its error, against closed forms."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import decode, latents, world
from scipy import stats

import densityguide as dg
from densityguide import solve
from densityguide.density.trace import apply
from densityguide.flow.local import evaluate


def _one(flow, x, method, numbers):
    def rates(t, y, drawn):
        local = evaluate(flow, y[0], t, tangents=True)
        return local.velocity, -apply(local.tangent, dg.exact(), y[0], None)[0]

    start = x, jnp.zeros(1)
    return solve.solve(method, numbers, rates, start, kinds=("state", "nats"), path=flow.path)


_run = jax.jit(jax.vmap(_one, in_axes=(None, 0, None, None)), static_argnums=2)


def _closed(flow, x):
    return jax.vmap(lambda x: flow.log_density(x, flow.interval[1]))(x)


def _prior(flow, x):
    return jax.vmap(flow.prior.log_prob)(x)


def gaps(flow, x, solver, steps, *, decode):
    """(true error of log p, reported bar, estimate too coarse) of each sample."""
    method, numbers = solve.plan(flow, solver=solver, steps=steps)
    if decode:
        out = _run(flow, x, method, numbers)
        error = _prior(flow, x) + out.y[1][:, 0] - _closed(flow, out.y[0])
    else:
        out = _run(flow, x, method, solve.backwards(numbers))
        error = _prior(flow, out.y[0]) - out.y[1][:, 0] - _closed(flow, x)
    assert (np.asarray(out.error[0]) >= 0).all()
    return np.abs(error), np.abs(np.mean(out.error[1], axis=1)), np.asarray(out.coarse)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "decode"),
    [
        pytest.param(2, True, marks=pytest.mark.slow, id="2-decode"),
        pytest.param(2, False, marks=pytest.mark.slow, id="2-encode"),
        pytest.param(4, True, id="4-decode"),
        pytest.param(4, False, marks=pytest.mark.slow, id="4-encode"),
    ],
)
def test_the_bar_of_adams_covers_and_is_not_wide(order, decode):
    """95 % of cases, at most 5 times the error in the median; 8 steps say that they are coarse."""
    flow = world("mixture12", "vp")
    x = latents(flow, 24)
    if not decode:
        x = _data(flow, x)
    ratios = []
    for steps in (16, 48, 96):
        error, bar, _ = gaps(flow, x, dg.Adams(order), steps, decode=decode)
        ratios.append(bar / error)
    ratios = np.concatenate(ratios)
    assert np.mean(ratios > 1.0) >= 0.95
    assert np.median(ratios) < 5.0
    assert gaps(flow, x, dg.Adams(order), 8, decode=decode)[2].mean() > 0.9


def _data(flow, x):
    method, numbers = solve.plan(flow, solver=dg.Adams(5), steps=160)
    return _run(flow, x, method, numbers).y[0]


@pytest.mark.parametrize("solver", [diffrax.Heun(), diffrax.Bosh3()], ids=["heun", "bosh3"])
def test_the_bar_of_single_steps_covers(solver):
    flow = world("mixture12", "vp")
    error, bar, _ = gaps(flow, latents(flow, 16), solver, 64, decode=True)
    assert np.mean(bar > error) >= 0.9
    assert np.median(bar / error) < 12.0


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.4, 0.05])
def test_the_bar_covers_without_a_path(spread):
    """A velocity field over flow time, encoded by default steps: the score is not known, and where
    data are thin it is far longer than that of a Gaussian through x."""
    known = dg.worlds.mixture(
        [0.6, 0.4],
        [[-1.0, 0.0], [1.5, 0.5]],
        [[spread], [0.6 * spread]],
        path=dg.paths.linear(),
        log_snr=(-9.0, 9.0),
    )

    def velocity(params, x, t):
        return known.velocity(x, 2.0 * (jnp.log(t) - jnp.log1p(-t))) * 2.0 / (t * (1.0 - t))

    ends = tuple(float(jax.nn.sigmoid(end / 2.0)) for end in known.interval)
    flow = dg.cnf(velocity, params=(), prior=dg.priors.normal((2,)), interval=ends, shape=(2,))
    x = jax.vmap(lambda z: dg.sample(known, z, divergence=None).x)(latents(known, 40))

    def encoded(**options):
        return jax.jit(jax.vmap(lambda x: dg.log_density(flow, x, **options)))(x)

    truth = encoded(steps=100, solver=diffrax.Dopri8()).value
    ratios = []
    for steps in (32, 48, 96):
        out = encoded(steps=steps)
        ratios.append(np.asarray(out.solver_error / jnp.abs(out.value - truth)))
    assert np.mean(np.concatenate(ratios) > 1.0) >= 0.95
    assert np.median(np.concatenate(ratios)) < 30.0


@pytest.mark.slow
def test_the_bar_falls_with_the_order_of_the_method():
    flow = world("mixture12", "vp")
    x = latents(flow, 8)
    bars = [gaps(flow, x, dg.Adams(2), steps, decode=True)[1] for steps in (64, 128)]
    observed = np.log2(np.median(bars[0]) / np.median(bars[1]))
    assert observed > 1.7


@pytest.mark.slow
def test_gradients_ignore_the_bar():
    flow = world("mixture12", "vp")
    method, numbers = solve.plan(flow, solver=dg.Adams(2), steps=6)
    x = latents(flow, 1)[0]
    gradient = jax.grad(lambda x: jnp.sum(_one(flow, x, method, numbers).error[0]))(x)
    np.testing.assert_array_equal(gradient, 0.0)


def test_the_ladder_stops_where_the_bar_fits():
    assert solve.climb(lambda n: (n, 1.0 / n**2), 1e-3) == (32, 32, True)
    assert solve.climb(lambda n: (n, float("nan")), 1.0, last=20) == (16, 16, False)


@pytest.mark.slow
def test_the_total_is_of_probes_and_solver():
    """sqrt((t s)^2 + e^2) with Student's t, as in its docstring."""
    flow = world("mixture12", "vp")
    x = decode(flow, latents(flow, 1), steps=64).x[0]
    out = dg.log_density(flow, x, divergence=dg.hutchinson(8), key=jax.random.key(0), steps=24)
    reach = stats.t.ppf(0.975, float(out.degrees_of_freedom)) * float(out.standard_error)
    expected = np.hypot(reach, float(out.solver_error))
    np.testing.assert_allclose(float(out.total_error), expected, rtol=2e-3)
    assert expected > 1.02 * max(reach, float(out.solver_error))
