"""Exponential Adams methods: exact where they must be, better than Runge-Kutta elsewhere."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import TIGHT, closed_form, decode, every_world, gaussian, latents, rms, world
from scipy.integrate import quad

import densityguide as dg
from densityguide.solve.adams import _totals
from densityguide.solve.quadrature import weights_of


def log_sigma(t):
    return -0.5 * jax.nn.softplus(t)


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("order", [1, 2, 4, 6])
def test_weights_integrate_polynomials_exactly(order, exponential):
    """Of a degree below the order (and the number of known values), on uneven and falling knots."""
    knots = np.asarray([3.0, 2.1, 1.9, 1.2, 0.4, -0.1, -1.0, -1.3])
    scale = log_sigma if exponential else None
    predictor, corrector = map(np.asarray, weights_of(jnp.asarray(knots), order, scale))
    for step in range(len(knots) - 1):
        t0, t1 = knots[step : step + 2]
        for newest, weights in ((step, predictor[step]), (step + 1, corrector[step])):
            known = min(order, newest + 1)
            assert (weights[known:] == 0).all()
            at = knots[newest - np.arange(known)]
            for degree in range(known):

                def integrand(s, degree=degree, t1=t1):
                    kernel = jnp.exp(log_sigma(t1) - log_sigma(s)) if exponential else 1.0
                    return float(kernel) * s**degree

                exact = quad(integrand, t0, t1, epsabs=1e-12, epsrel=1e-12)[0]
                assert weights[:known] @ at**degree == pytest.approx(exact, abs=1e-9)
    if not exponential:
        assert np.sum(_totals(corrector)) == pytest.approx(knots[-1] - knots[0])


@pytest.mark.parametrize(("path", "rest"), [("vp", 0.7), ("vp", 0.0), ("ve", 0.0), ("linear", 0.0)])
def test_the_linear_part_is_exact_in_wide_steps(path, rest):
    """Data at the origin (any path), and a constant rest (variance preserving)."""
    flow = gaussian(3, path)
    flow = dataclasses.replace(flow, field=_Linear(flow.path, rest))
    x = jnp.asarray([1.0, -0.5, 2.0])
    wide = dg.sample(flow, x, steps=4, solver=dg.Adams(1), divergence=None)
    many = dg.sample(flow, x, divergence=None, **TIGHT)
    np.testing.assert_allclose(wide.x, many.x, atol=1e-7)


class _Linear:
    """Velocity of the path towards the origin, plus a constant."""

    def __init__(self, path, rest):
        self.path, self.rest = path, rest

    def __call__(self, params, x, t):
        sigma = self.path.sigma(t)
        return self.path.drift(t) * x - 0.5 * x + self.rest, -x / sigma**2


@pytest.mark.slow
@every_world(("mixture12", "vp"))
def test_a_fifth_of_the_error_at_equal_evaluations(name, path):
    flow = world(name, path)
    x = latents(flow, 16)
    adams = decode(flow, x, steps=126, solver=dg.Adams())
    other = decode(flow, x, steps=42, solver=diffrax.Bosh3(scan_kind="bounded"))
    assert int(adams.evaluations[0]) == int(other.evaluations[0]) == 127
    errors = [rms(out.log_density - closed_form(flow, out.x)) for out in (adams, other)]
    assert errors[0] < 0.2 * errors[1]
    assert errors[0] < 3e-4


@pytest.mark.slow
def test_the_order_shows_on_a_flow_without_a_path():
    """Observed orders within 0.3, on the default grid. Over equal steps the first ones, of lower
    order, would limit order 4 to 3; they still limit 5."""

    def velocity(x, t):
        return jnp.sin(x + t) + 0.3 * jnp.cos(2.0 * x[::-1])

    prior = dg.priors.normal((4,), 1.0)
    flow = dg.cnf(velocity, prior=prior, interval=(1.0, 0.0), shape=(4,))
    x = latents(flow, 4)
    exact = decode(flow, x, steps=800, solver=diffrax.Dopri8(scan_kind="bounded"))
    for order in (2, 3, 4):
        errors = []
        for steps in (40, 80):
            out = decode(flow, x, steps=steps, solver=dg.Adams(order))
            errors.append([rms(out.x - exact.x), rms(out.log_density - exact.log_density)])
        observed = np.log2(np.divide(*errors))
        np.testing.assert_allclose(observed, order, atol=0.3)


@pytest.mark.slow
def test_gradients_reach_the_ends_and_the_knots():
    """Reverse mode through the first steps, where values are still missing: as forward mode."""
    order = 4  # the default
    flow, x = gaussian(3), jnp.asarray([0.3, -1.0, 0.5])
    knots = jnp.linspace(-10.0, 8.0, 9) + 0.1 * jnp.sin(jnp.arange(9)).at[jnp.array([0, 8])].set(0)

    def by_knots(knots):
        return dg.sample(flow, x, grid=knots, solver=dg.Adams(order)).log_density

    def by_ends(start):
        moved = flow.replace(interval=(start, flow.interval[1]))
        return dg.sample(moved, x, steps=8, solver=dg.Adams(order)).log_density

    inner = knots[1:-1]
    function = jax.jit(lambda inner: by_knots(knots.at[1:-1].set(inner)))
    np.testing.assert_allclose(jax.jacrev(function)(inner), jax.jacfwd(function)(inner), rtol=1e-7)
    start = jnp.asarray(-10.0)
    reverse, forward = jax.grad(by_ends)(start), jax.jacfwd(by_ends)(start)
    np.testing.assert_allclose(reverse, forward, rtol=1e-7)
    assert abs(float(reverse)) > 1e-5


def test_a_traced_grid_of_another_range_is_a_status():
    flow, x = gaussian(3), jnp.ones(3)
    run = jax.jit(lambda knots: dg.sample(flow, x, grid=knots).status)
    invalid = int(dg.Status.INVALID)
    for ends in ((8.0, -10.0), (-5.0, 3.0), (-10.0, 7.9)):
        assert int(run(jnp.linspace(*ends, 33))) & invalid
    assert int(run(jnp.linspace(*flow.interval, 33))) == 0


def test_bad_input():
    flow = gaussian(3)
    for order in (True, 4.0):
        with pytest.raises(ValueError, match="order must be 1 to 6"):
            dg.Adams(order)
    with pytest.raises(ValueError, match="order must be 1 to 6"):
        dg.Adams(0)
    with pytest.raises(ValueError, match="Adams has no error estimate"):
        dg.sample(flow, jnp.ones(3), rtol=1e-3, solver=dg.Adams())
    noise = dg.noise.constant(0.1)
    with pytest.raises(ValueError, match="Stratonovich"):
        dg.sample(flow, jnp.ones(3), noise=noise, key=jax.random.key(0), solver=dg.Adams())
