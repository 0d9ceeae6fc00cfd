"""Traces: exact on fields that are neither symmetric nor divergence-free; estimators unbiased,
with honest error bars; no D x D array anywhere."""

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import densityguide as dg
from densityguide.density.trace import apply


def field(shape, seed=0):
    """x -> tanh(A x) * 3 + x^2 with dense non-symmetric A."""
    size = prod(shape)
    matrix = jax.random.normal(jax.random.key(seed), (size, size)) / size**0.5 + jnp.eye(size)

    def fn(x):
        flat = x.reshape(-1)
        return (3.0 * jnp.tanh(matrix @ flat) + flat**2).reshape(shape)

    return fn


def jacobian(fn, x):
    return np.asarray(jax.jacfwd(fn)(x)).reshape(x.size, x.size)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 2), (1,), (4, 4)])
def test_exact_on_any_shape_and_chunk(shape):
    fn, x = field(shape), 0.7 * jax.random.normal(jax.random.key(5), shape)
    full = jacobian(fn, x)
    assert abs(np.trace(full)) > 0.1
    assert full.size == 1 or np.abs(full - full.T).max() > 0.1
    for chunk in (None, 1, 3, 5, 64):
        value, trace, error = jax.jit(lambda x, chunk=chunk: dg.divergence(fn, x, dg.exact(chunk)))(
            x
        )
        np.testing.assert_allclose(value, fn(x), rtol=1e-12)
        np.testing.assert_allclose(trace, np.trace(full), rtol=1e-11)
        assert float(error) == 0.0


ESTIMATORS = {
    "rademacher": dg.hutchinson(4),
    "gaussian": dg.hutchinson(4, "gaussian"),
    "orthogonal": dg.orthogonal(4),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_unbiased_with_an_honest_error_bar(name):
    """Mean of 4000 estimates within 4.5 standard errors of the truth; the reported variance is
    the variance seen, to 10%."""
    fn, x = field((3, 4), 1), jax.random.normal(jax.random.key(2), (3, 4))
    truth = np.trace(jacobian(fn, x))
    keys = jax.random.split(jax.random.key(3), 4000)
    once = jax.jit(jax.vmap(lambda key: dg.divergence(fn, x, ESTIMATORS[name], key)[1:]))
    estimates, errors = map(np.asarray, once(keys))
    seen = estimates.std()
    assert seen > 0.1
    assert abs(estimates.mean() - truth) < 4.5 * seen / 4000**0.5
    assert np.mean(errors**2) / seen**2 == pytest.approx(1.0, abs=0.1)


def test_rademacher_variance_is_the_textbook_one():
    """Var v^T J v = 2 (|S|_F^2 - sum S_ii^2), S the symmetric part of J."""
    fn, x = field((6,), 4), jax.random.normal(jax.random.key(1), (6,))
    symmetric = jacobian(fn, x)
    symmetric = 0.5 * (symmetric + symmetric.T)
    expected = 2 * (np.sum(symmetric**2) - np.sum(np.diag(symmetric) ** 2))
    keys = jax.random.split(jax.random.key(0), 8000)
    estimate = jax.vmap(lambda key: dg.divergence(fn, x, dg.hutchinson(2), key)[1])
    seen = 2 * np.var(np.asarray(jax.jit(estimate)(keys)))
    assert seen == pytest.approx(expected, rel=0.07)


def arrays_in(jaxpr):
    """Shapes of everything computed, in nested programs too."""
    for equation in jaxpr.eqns:
        yield from (v.aval.shape for v in equation.outvars if hasattr(v.aval, "shape"))
        for inner in jaxprs_in_params(equation.params):
            yield from arrays_in(inner)


@pytest.mark.parametrize("trace", [dg.exact(), dg.exact(100), dg.orthogonal(2)])
def test_no_array_of_d_by_d(trace):
    size = 768
    kernel = jax.random.normal(jax.random.key(0), (size, 3))

    def fn(x):
        return jnp.tanh(x * 2.0) + kernel @ jnp.sin(kernel.T @ x)

    def taken(x):
        return dg.divergence(fn, x, trace, jax.random.key(0))[1]

    shapes = list(arrays_in(jax.make_jaxpr(taken)(jnp.ones(size)).jaxpr))
    assert len(shapes) > 10
    assert max(map(prod, shapes)) < size * size // 4


def test_both_outputs_of_one_linearisation():
    """`apply` traces every output of a linear map: velocity and score in one pass."""
    matrix = jax.random.normal(jax.random.key(0), (2, 6, 6))
    traces = apply(lambda v: (matrix[0] @ v, matrix[1] @ v), dg.exact(4), jnp.zeros(6), None)
    np.testing.assert_allclose(jnp.stack(traces)[:, 0], jnp.trace(matrix, axis1=1, axis2=2))
