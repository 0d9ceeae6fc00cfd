"""Probes: identity covariance, and which errors cancel over a cycle."""

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide.density import probes


def drawn(shape, cycle, count, draw=probes.coded, streams=3, key=0):
    """Probes [count, streams, D] of evaluations 0 .. count - 1."""

    def at(index):
        return draw(jax.random.key(key), index, cycle, streams, shape, jnp.dtype("float64"))

    return np.asarray(jax.vmap(at)(jnp.arange(count))).reshape(count, streams, prod(shape))


def estimates(rows, matrix):
    return np.einsum("nki,ij,nkj->nk", rows, matrix, rows)


@pytest.mark.parametrize("shape", [(8,), (2, 8), (4, 4, 1), (8, 8, 1)])
def test_a_cycle_as_long_as_the_space_gives_the_exact_trace(shape):
    size = prod(shape)
    rows = drawn(shape, size, 2 * size)
    np.testing.assert_array_equal(np.abs(rows), 1.0)
    matrix = np.random.default_rng(0).normal(size=(size, size))
    for part in (rows[:size], rows[size:]):
        means = estimates(part, matrix).mean(axis=0)
        np.testing.assert_allclose(means, np.trace(matrix), rtol=1e-10)
    gram = rows[:size, 0] @ rows[:size, 0].T
    np.testing.assert_array_equal(gram, size * np.eye(size))
    assert np.abs(rows[:size, 0] - rows[:size, 1]).max() > 0
    assert np.abs(rows[:size] - rows[size:]).max() > 0


@pytest.mark.parametrize("shape", [(6, 10, 1), (8, 8, 3), (4, 6, 4), (5, 5, 12)])
def test_a_short_cycle_cancels_neighbours_and_channels_of_images(shape):
    """Couplings between pixels at most one apart, any channels, and up to three apart in one
    channel: exact after the least cycle, although that is far shorter than D."""
    y, x, c = (a.ravel() for a in np.indices(shape))
    apart = np.maximum(np.abs(y[:, None] - y), np.abs(x[:, None] - x))
    near = (apart <= 1) | ((apart <= 3) & (c[:, None] == c))
    matrix = np.where(near, np.random.default_rng(1).normal(size=near.shape), 0.0)
    cycle = probes.cycle_length(shape, 0)
    assert cycle == (64 if shape[2] > 4 else 16)
    assert cycle < prod(shape)
    once = estimates(drawn(shape, cycle, cycle), matrix)
    np.testing.assert_allclose(once.mean(axis=0), np.trace(matrix), rtol=1e-10)
    assert once.std(axis=0).min() > 1.0


@pytest.mark.parametrize(
    "draw", [probes.coded, probes.rademacher, probes.gaussian], ids=lambda draw: draw.__name__
)
@pytest.mark.parametrize("shape", [(5,), (2, 2, 3)])
def test_covariance_is_the_identity(draw, shape):
    size = prod(shape)
    keys = jax.random.split(jax.random.key(0), 6000)
    place = jnp.asarray(5, jnp.int32)
    one = jax.vmap(lambda key: draw(key, place, 8, 2, shape, jnp.dtype("float64")))
    rows = np.asarray(one(keys)).reshape(6000, 2 * size)
    np.testing.assert_allclose(rows.T @ rows / 6000, np.eye(2 * size), atol=5 / 6000**0.5)


def test_cycles_grow_with_the_evaluations():
    assert [probes.cycle_length((32, 32, 3), n) for n in (1, 64, 256, 1024)] == [16, 16, 32, 128]
    assert [probes.cycle_length((12,), n) for n in (1, 64, 4096)] == [1, 8, 16]
    assert probes.cycle_length((8, 8, 1), 4096) == 64
