"""A network that makes whole numbers of its time is told from one that does not."""

import jax
import jax.numpy as jnp
import pytest

from densityguide.flow.whole_times import rounded

TABLE = jnp.arange(10.0)


def told(network):
    return rounded(jax.make_jaxpr(network)(jnp.ones(4), jnp.ones(())).jaxpr)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda x, t: x * TABLE[t.astype(int)], True),
        (lambda x, t: x * TABLE[(2.0 * t + 1.0).astype(int)], True),
        (jax.jit(lambda x, t: x * TABLE[t.astype(int)]), True),
        (lambda x, t: x * jax.jit(lambda s: TABLE[s])(t.astype(int)), True),
        (lambda x, t: x * jnp.sin(t), False),
        (lambda x, t: t * TABLE[x.astype(int)], False),
        (jax.jit(lambda x, t: t * TABLE[x.astype(int)]), False),
        (lambda x, t: x * TABLE[jnp.zeros((), int)] + t.astype(jnp.float16), False),
    ],
    ids=["table", "scaled", "jit", "outside jit", "sine", "x", "x in jit", "float16"],
)
def test_what_becomes_of_the_time(network, expected):
    assert told(network) is expected
