"""What `cost` counts is what `sample` reports and the compiler sees."""

import diffrax
import jax
import jax.numpy as jnp
import pytest

import densityguide as dg

WORLD = dg.worlds.mixture([0.6, 0.4], [[-1.0, 0.0], [1.5, 0.5]], [[0.5], [0.3]])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"guidance": dg.quantile(0.7), "steps": 9},
        # Plans by a solve of its own.
        pytest.param({"guidance": dg.target(-2.0), "steps": 40}, marks=pytest.mark.slow),
        {"divergence": dg.orthogonal(3), "solver": diffrax.Tsit5(), "steps": 5},
        {"guidance": dg.quantile(0.6), "tracking": None, "steps": 5},
        {"divergence": None, "grid": dg.grids.cosine(-10.0, 8.0, 7)},
        {"noise": dg.noise.constant(0.3), "steps": 6},
        {"noise": dg.noise.constant(0.3, form="ito"), "steps": 6},
    ],
)
def test_counts_are_those_of_the_sample(options):
    key = jax.random.key(0)
    out = dg.sample(WORLD, dg.latent(WORLD, key), key=key, **options)
    cost = dg.cost(WORLD, **options)
    assert (cost.evaluations, cost.tangents) == (out.evaluations, out.tangents)
    expected = cost.evaluations * cost.flops_evaluation + cost.tangents * cost.flops_tangent
    assert cost.flops == expected
    assert cost.seconds > 0
    assert cost.compile_seconds > 0


def network(width, size=8):
    first, second = jnp.ones((size, width)), jnp.ones((width, size))
    return dg.diffusion(
        lambda p, x, t: jnp.tanh(x @ p[0]) @ p[1],
        params=(first, second),
        path=dg.paths.variance_preserving(),
        prediction="noise",
        shape=(size,),
    )


def test_operations_are_those_of_the_network():
    """Two matrix products of 2 x 8 x 1000 operations; a tangent needs the same two."""
    cost = dg.cost(network(1000), divergence=None, steps=5)
    assert cost.flops_evaluation == pytest.approx(32_000, rel=0.1)
    assert cost.flops_tangent == pytest.approx(32_000, rel=0.2)  # and the slope of tanh
    assert cost.tangents == 0


def test_memory_holds_the_weights_and_grows_with_the_batch():
    flow = network(1000)
    weights = sum(leaf.nbytes for leaf in flow.params)
    one, many = (dg.cost(flow, divergence=None, steps=5, batch=batch) for batch in (1, 64))
    assert one.memory > weights
    assert many.memory > one.memory
    assert (one.batch, many.batch) == (1, 64)
    # Operations and counts are of one sample.
    assert one.flops == many.flops


def test_adaptive_solves_are_refused():
    with pytest.raises(ValueError, match="known only after it: pass steps="):
        dg.cost(WORLD, rtol=1e-4)
    with pytest.raises(ValueError, match="batch"):
        dg.cost(WORLD, batch=0)
