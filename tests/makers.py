"""Small flows, latents and keys that tests of bad input are about."""

import jax
import jax.numpy as jnp

import densityguide as dg

VP = dg.paths.variance_preserving()
LINEAR = dg.paths.linear()


def world():
    return dg.worlds.mixture([0.4, 0.6], [[1.0, 0.2], [-1.0, 0.5]], 0.6, log_snr=(-4.0, 3.0))


def bare(score=None, shape=(2,), **more):
    prior = dg.priors.normal(shape)
    options = {"prior": prior, "interval": (0.0, 1.0), "shape": shape, "score": score} | more
    return dg.cnf(options.pop("velocity", lambda x, t: -x), **options)


def scored():
    return bare(score=lambda x, t: -x)


def x():
    return jnp.asarray([0.4, -0.9])


def key():
    return jax.random.key(0)


def build(**more):
    options = {"path": VP, "prediction": "noise", "shape": (2,)} | more
    return dg.diffusion(options.pop("apply", lambda x, t: x), **options)


class Loose:
    """A prior by its methods, but not a pytree."""

    def sample(self, key):
        return jax.random.normal(key, (2,))

    def log_prob(self, x):
        return -0.5 * jnp.sum(x**2)


@jax.tree_util.register_static
class Uniform(Loose):
    """A user's own prior, with an attribute that means something else."""

    scale = 1.0


def wide_scored():
    return bare(score=lambda x, t: -x, shape=(300,))


def wide():
    return bare(shape=(300,))


class Unit:
    """A transform that does nothing: enough to reach the checks behind it."""

    levels = 4

    def __call__(self, image, key):
        return image / 255.0

    def log_jacobian(self, size):
        return 0.0
