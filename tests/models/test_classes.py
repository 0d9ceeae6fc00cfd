"""The shipped network of digits with classes: it knows which digit it is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide import data

pytestmark = pytest.mark.slow
DIGITS = jnp.arange(10)


@pytest.fixture(scope="module")
def flow():
    return dg.models.load("digits8-class")


def told_apart(flow, x, key):
    """The class under which x is denoised best: the squared error of the noise, summed over a few
    noise levels, the same noise for all classes."""
    levels = jnp.tile(jnp.linspace(-1.5, 1.5, 4), 4)

    def error(digit, level, key):
        eps = jax.random.normal(key, x.shape)
        noisy = flow.path.alpha(level) * x + flow.path.sigma(level) * eps
        score = flow.given(digit).score(noisy, level)
        return jnp.sum((flow.path.sigma(level) * score + eps) ** 2)

    keys = jax.random.split(key, levels.size)
    grid = jax.vmap(jax.vmap(error, (None, 0, 0)), (0, None, None))
    return jnp.argmin(jnp.sum(grid(DIGITS, levels, keys), axis=1))


@jax.jit
def classified(flow, x, key):
    """The classes of x [N, ...]."""
    one = lambda given: told_apart(flow, *given)  # noqa: E731
    return jax.lax.map(one, (x, jax.random.split(key, x.shape[0])))


def test_held_out_digits_are_told_apart(flow):
    digits = data.load("digits8")
    keys = jax.random.split(jax.random.key(0), len(digits.heldout))
    x = jax.vmap(flow.transform)(jnp.asarray(digits.heldout), keys)
    right = np.mean(np.asarray(classified(flow, x, jax.random.key(1))) == digits.heldout_labels)
    print("share told apart", right)
    assert right > 0.9


def test_guided_samples_are_of_their_class(flow):
    def draw(flow, digit, key):
        guided = dg.classifier_free(flow.given(digit), 2.0, negative=-1)
        return dg.sample(guided, dg.latent(guided, key), divergence=None, steps=48).x

    wanted = jnp.tile(DIGITS, 2)
    keys = jax.random.split(jax.random.key(2), 20)
    x = jax.jit(jax.vmap(draw, (None, 0, 0)))(flow, wanted, keys)
    right = np.mean(classified(flow, x, jax.random.key(3)) == wanted)
    print("share of their class", right)
    assert right > 0.9
