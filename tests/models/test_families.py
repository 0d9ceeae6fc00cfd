"""The same digits trained as variance-preserving diffusion, flow matching and EDM: the claims are
not about one network."""

from functools import cache
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide import data

pytestmark = pytest.mark.slow
FAMILIES = ("digits8", "digits8-flow", "digits8-edm")
COUNT = 8


@cache
def heldout():
    images = jnp.asarray(data.load("digits8").heldout[:COUNT])
    transform = dg.models.load("digits8").transform
    return jax.vmap(transform)(images, jax.random.split(jax.random.key(0), COUNT))


@cache
def measured(name):
    """Log p and the evidence lower bound of the same held-out digits, nats [COUNT] each."""
    flow, x = dg.models.load(name), heldout()
    keys = jax.random.split(jax.random.key(1), COUNT)
    log_p = jax.jit(jax.vmap(lambda f, x: dg.log_density(f, x, steps=32).value, (None, 0)))
    bound = jax.jit(jax.vmap(lambda f, x, k: dg.elbo(f, x, k, levels=256).value, (None, 0, 0)))
    return np.asarray(log_p(flow, x)), np.asarray(bound(flow, x, keys))


@pytest.mark.parametrize("pair", list(combinations(FAMILIES, 2)), ids="-".join)
def test_log_densities_agree_within_the_differences_of_the_losses(pair):
    """The evidence lower bound is the held-out loss in nats: families differ in log p no more than
    in it, beyond the noise of both over the same digits."""
    (ours, our_bound), (theirs, their_bound) = map(measured, pair)
    difference, allowed = ours - theirs, our_bound - their_bound
    noise = np.hypot(difference.std(), allowed.std()) / COUNT**0.5
    print(pair, "log p", difference.mean(), "bound", allowed.mean(), "noise", noise)
    assert abs(difference.mean()) <= abs(allowed.mean()) + 3 * noise
    # Log p lies above its bound, by the error of the score.
    assert ours.mean() > our_bound.mean()


@pytest.mark.parametrize("name", FAMILIES)
def test_density_guidance_moves_every_family(name):
    flow = dg.models.load(name)

    @jax.jit
    def mean(flow, q):
        def one(key):
            latent = dg.latent(flow, key)
            return dg.sample(flow, latent, guidance=dg.quantile(q), steps=31).log_density

        return jnp.mean(jax.vmap(one)(jax.random.split(jax.random.key(2), 3)))

    means = [float(mean(flow, q)) for q in (0.35, 0.5, 0.65)]
    print(name, means)
    assert np.all(np.diff(means) > 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_scaling_the_latent_steers_every_family(name):
    report = dg.alignment_report(dg.models.load(name), jax.random.key(3), count=48, steps=48)
    print(name, report)
    assert report.low > 0.8
