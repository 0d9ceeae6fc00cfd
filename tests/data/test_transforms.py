import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide.data import Dequantise, nats_to_bits_per_dim


@pytest.mark.parametrize("levels", [2, 17, 256, 1000, 2**10, 2**12, 40_000, 2**16])
def test_round_trip_is_exact_for_every_value(levels):
    whole = jnp.uint8 if levels <= 256 else jnp.uint16
    x = jnp.repeat(jnp.arange(levels, dtype=whole), 500 if levels <= 256 else 40)
    transform = Dequantise(levels)
    y = transform(x, jax.random.key(levels))
    assert float(y.min()) >= -1.0
    assert float(y.max()) < 1.0
    assert transform.inverse(y).dtype == whole
    np.testing.assert_array_equal(transform.inverse(y), x)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_ends_of_the_range_come_back_clipped(bits):
    transform = Dequantise(2**bits)
    back = transform.inverse(jnp.asarray([-3.0, -1.0, 1.0, 3.0]))
    np.testing.assert_array_equal(back, [0, 0, 2**bits - 1, 2**bits - 1])


@pytest.mark.parametrize("levels", [1, 0, 2.5, True, "256", 2**16 + 1])
def test_levels_are_checked(levels):
    with pytest.raises(ValueError, match="levels must be"):
        Dequantise(levels)


def test_a_transform_is_compared_by_value():
    assert Dequantise(np.int64(16)) == Dequantise(16)
    assert hash(Dequantise(np.int64(16))) == hash(Dequantise(16))


def test_round_trip_holds_at_the_largest_dither():
    x = jnp.arange(256, dtype=jnp.uint8)
    y = Dequantise(256).forward(x, jnp.full(256, 1.0 - 2.0**-14))
    np.testing.assert_array_equal(Dequantise(256).inverse(y), x)


@pytest.mark.parametrize("levels", [17, 256])
def test_log_jacobian_is_that_of_autodiff(levels):
    transform, x = Dequantise(levels), jnp.asarray([0, 3, 7, 16])
    jacobian = jax.jacfwd(lambda u: transform.forward(x, u))(jnp.full(4, 0.3))
    found = jnp.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(transform.log_jacobian(4), found, rtol=1e-6)


def test_uniform_density_costs_log2_levels_bits():
    # The uniform density on [-1, 1)^D is 2^-D, and coding 256 equal values costs 8 bits each.
    dims = 12
    bits = Dequantise(256).bits_per_dim(jnp.asarray(-dims * math.log(2.0)), dims)
    np.testing.assert_allclose(bits, 8.0, rtol=1e-6)
    np.testing.assert_allclose(nats_to_bits_per_dim(-math.log(2.0), 1), 1.0)
