"""Knots: monotone cubic interpolation, against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

import densityguide as dg

TIMES = np.asarray([-3.0, -2.5, -0.1, 0.0, 1.7, 4.0])
SHAPES = {
    "rising": np.asarray([0.0, 0.1, 2.0, 2.01, 5.0, 9.0]),
    "turning": np.asarray([0.0, 3.0, -1.0, -1.0, 4.0, 3.5]),
    "steps": np.asarray([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    "huge": 3000 * np.asarray([1.0, 1.1, 0.9, 0.95, 0.2, 0.3]),
}
DENSE = np.linspace(TIMES[0], TIMES[-1], 401)


@jax.jit
def evaluated(line, t):
    return jax.vmap(line)(t), jax.vmap(line.derivative)(t)


@pytest.mark.parametrize("shape", SHAPES)
def test_against_scipy(shape):
    line, truth = dg.knots(TIMES, SHAPES[shape]), PchipInterpolator(TIMES, SHAPES[shape])
    value, slope = evaluated(line, jnp.asarray(DENSE))
    scale = np.abs(SHAPES[shape]).max()
    np.testing.assert_allclose(value, truth(DENSE), atol=1e-12 * scale)
    np.testing.assert_allclose(slope, truth.derivative()(DENSE), atol=1e-10 * scale)


@pytest.mark.parametrize("shape", SHAPES)
def test_exact_at_knots_and_continuously_differentiable(shape):
    line = dg.knots(TIMES, SHAPES[shape])
    np.testing.assert_array_equal(evaluated(line, jnp.asarray(TIMES))[0], SHAPES[shape])
    step = 1e-7
    left, right = (evaluated(line, jnp.asarray(TIMES[1:-1] + d))[1] for d in (-step, step))
    curvature = 1e3 * np.abs(SHAPES[shape]).max()
    np.testing.assert_allclose(left, right, atol=2 * step * curvature)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.floats(-50, 50), min_size=6, max_size=6))
def test_never_overshoots(values):
    values = np.asarray(values)
    value = np.asarray(evaluated(dg.knots(TIMES, values), jnp.asarray(DENSE))[0])
    cell = np.clip(np.searchsorted(TIMES, DENSE, side="right") - 1, 0, 4)
    low = np.minimum(values[cell], values[cell + 1])
    high = np.maximum(values[cell], values[cell + 1])
    assert (value >= low - 1e-9).all()
    assert (value <= high + 1e-9).all()


def test_two_knots_are_a_line_and_the_ends_hold():
    line = dg.knots([0.0, 2.0], [1.0, 5.0])
    np.testing.assert_allclose([line(-1.0), line(0.5), line(3.0)], [1.0, 2.0, 5.0])
    np.testing.assert_allclose(line.derivative(1.3), 2.0)


def test_weights_of_a_schedule_have_finite_gradients():
    """Flat and turning knots, where a slope is a limit."""
    for values in SHAPES.values():

        def total(v):
            return jnp.sum(jax.vmap(dg.knots(TIMES, v))(jnp.asarray(DENSE)))

        assert bool(jnp.isfinite(jax.grad(total)(jnp.asarray(values))).all())
