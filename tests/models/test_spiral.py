"""The shipped flow in the plane, against the density of the points it was trained on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide import data
from densityguide.data import shapes


@pytest.fixture(scope="module")
def flow():
    return dg.models.load("spiral2d")


@pytest.fixture(scope="module")
def truth(flow):
    """The flow with the exact density, on the same path and range."""
    middle = shapes.centres("spiral2d")
    weights, spread = np.full(len(middle), 1 / len(middle)), np.full((1, 1), shapes.SPREAD)
    ends = tuple(float(end) for end in flow.interval)
    return dg.worlds.mixture(weights, middle, spread, path=flow.path, log_snr=ends)


def test_log_density_of_held_out_points_is_that_of_the_spiral(flow, truth):
    """The mean difference is the Kullback-Leibler divergence from truth to model, in nats."""
    x = jnp.asarray(data.load("spiral2d").heldout[:256])
    ours = jax.jit(jax.vmap(lambda f, x: dg.log_density(f, x).value, (None, 0)))(flow, x)
    exact = jax.vmap(lambda x: truth.log_density(x, flow.interval[1]))(x)
    gap = np.asarray(exact - ours)
    print("divergence", gap.mean(), "spread", gap.std())
    assert -3 * gap.std() / 16 < gap.mean() < 0.05
    assert gap.std() < 0.3


@pytest.mark.slow
def test_its_density_integrates_to_one_and_is_the_spirals(flow, truth):
    axis = jnp.linspace(-1.4, 1.4, 113)
    cell = float(axis[1] - axis[0]) ** 2
    points = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    one = lambda f, x: dg.log_density(f, x).value  # noqa: E731
    log_p = jax.jit(lambda f, x: jax.lax.map(lambda x: one(f, x), x, batch_size=1024))(flow, points)
    exact = jax.vmap(lambda x: truth.log_density(x, flow.interval[1]))(points)
    ours, theirs = np.exp(log_p), np.exp(exact)
    total, variation = ours.sum() * cell, 0.5 * np.abs(ours - theirs).sum() * cell
    print("integral", total, "total variation", variation)
    assert abs(total - 1) < 0.01
    assert variation < 0.1


@pytest.mark.slow
def test_guidance_moves_the_true_density_too(flow, truth):
    """Larger q, larger log p: by the model's own account and by the spiral's."""

    def mean(f, q):
        def one(key):
            return dg.sample(f, dg.latent(f, key), guidance=dg.quantile(q))

        out = jax.vmap(one)(jax.random.split(jax.random.key(0), 256))
        exact = jax.vmap(lambda x: truth.log_density(x, f.interval[1]))(out.x)
        return jnp.mean(out.log_density), jnp.mean(exact)

    run = jax.jit(mean)
    means = np.asarray([run(flow, q) for q in (0.4, 0.5, 0.6)])
    print(means)
    assert np.all(np.diff(means, axis=0) > 0)
