"""The shipped network of photograph patches, against the best Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide import data


@pytest.mark.slow
def test_held_out_patches_are_denser_than_under_the_best_gaussian():
    """Log p at the data end, where the Gaussian of the training patches is N(a m, a^2 C + s^2 I);
    and plain patches are denser than rough ones."""
    flow, photos = dg.models.load("photos16"), data.load("photos16")
    x = flow.transform(jnp.asarray(photos.heldout[::300]), jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), len(x))

    def one(x, key):
        return dg.log_density(flow, x, divergence=dg.orthogonal(2), key=key, steps=32)

    out = jax.jit(jax.vmap(one))(x, keys)
    seen = flow.transform(jnp.asarray(photos.train[::8]), jax.random.key(2))
    seen = np.asarray(seen, np.float64).reshape(len(seen), -1)
    alpha, sigma = (float(f(flow.interval[1])) for f in (flow.path.alpha, flow.path.sigma))
    covariance = alpha**2 * np.cov(seen.T) + sigma**2 * np.eye(seen.shape[1])
    gap = np.asarray(x, np.float64).reshape(len(x), -1) - alpha * seen.mean(0)
    solved = np.linalg.solve(covariance, gap.T).T
    volume = np.linalg.slogdet(2 * np.pi * covariance)[1]
    gaussian = -0.5 * (np.sum(gap * solved, 1) + volume)
    bits = (np.asarray(out.value) - gaussian) / (flow.size * np.log(2))
    print("bits/dim gained over the Gaussian", bits.mean(), "+-", bits.std() / len(bits) ** 0.5)
    print("standard error, nats", np.asarray(out.standard_error).mean())
    assert not np.any(np.asarray(out.status) & int(dg.Status.NON_FINITE))
    assert bits.mean() > 0.5
    order = lambda values: np.argsort(np.argsort(values))  # noqa: E731
    rough = np.asarray(jnp.abs(x[:, 1:] - x[:, :-1]).mean((1, 2, 3)))
    assert np.corrcoef(order(rough), order(out.value))[0, 1] < -0.8
