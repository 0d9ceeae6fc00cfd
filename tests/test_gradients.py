"""Derivatives through the verbs against finite differences: reverse mode, and jvp."""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS

import densityguide as dg

STEP = 1e-5


@pytest.fixture(scope="module")
def flow():
    return dg.worlds.mixture(
        [0.4, 0.6],
        [[1.0, 0.2, -1.0], [-1.0, 0.5, 0.8]],
        0.6,
        path=PATHS["linear"],
        log_snr=(-4.0, 3.0),
    )


POINT = np.asarray([0.3, -0.7, 0.4])


def moved(flow, x, by):
    """Means and latent together along one direction, so that one difference checks both."""
    rng = np.random.default_rng(3)
    means = flow.params.means + by * jnp.asarray(rng.normal(size=flow.params.means.shape))
    flow = flow.replace(params=flow.params._replace(means=means))
    return flow, x + by * jnp.asarray(rng.normal(size=x.shape))


def density(flow, x, **options):
    return dg.log_density(flow, x, **options).value


def guided(flow, x, **options):
    """A number that hangs on every output."""
    out = dg.sample(flow, x, guidance=dg.budget(1.5), measure=False, **options)
    return jnp.sum(out.x * jnp.asarray([1.0, -2.0, 0.5])) + out.tracked + out.unmet


def targeted(flow, x, **options):
    out = dg.sample(flow, x, guidance=dg.target(-3.0), **options)
    return jnp.sum(out.x**2) + out.log_density


def alignment(flow, x, **options):
    return dg.score_alignment(flow, x, **options).value


def noisy(flow, x, **options):
    noise = dg.noise.constant(0.4)
    out = dg.sample(flow, x, noise=noise, key=jax.random.key(0), **options)
    return jnp.sum(out.x**3) + out.log_density


FIXED = {"steps": 12}
ADAPTIVE = {"rtol": 1e-11, "solver": diffrax.Dopri8(scan_kind="bounded"), "max_steps": 128}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "options"),
    [
        (density, FIXED),
        (guided, FIXED),
        pytest.param(targeted, FIXED, marks=pytest.mark.slow),
        (alignment, FIXED),
        pytest.param(noisy, FIXED, marks=pytest.mark.slow),
        pytest.param(density, ADAPTIVE, marks=pytest.mark.slow),
        pytest.param(guided, ADAPTIVE, marks=pytest.mark.slow),
    ],
    ids=["density", "guided", "target", "alignment", "noise", "density-tol", "guided-tol"],
)
def test_reverse_and_forward_mode_match_differences(flow, verb, options):
    x = jnp.asarray(POINT)

    def along(flow, x, by):
        return verb(*moved(flow, x, by), **options)

    value = jax.jit(partial(along, flow, x))
    coarse, fine = ((value(h) - value(-h)) / (2 * h) for h in (STEP, STEP / 2))
    numeric = (4 * fine - coarse) / 3  # where the limiter sets in, third derivatives are large
    reverse = jax.jit(jax.grad(partial(along, flow, x)))(0.0)
    assert abs(float(numeric)) > 1e-2
    np.testing.assert_allclose(reverse, numeric, rtol=1e-6)
    if options is FIXED:
        forward = jax.jit(lambda by: jax.jvp(partial(along, flow, x), (by,), (1.0,))[1])(0.0)
        np.testing.assert_allclose(forward, reverse, rtol=1e-10)


@pytest.mark.slow
def test_every_weight_and_input_has_a_gradient(flow):
    """The whole gradient of log p by weights: with p_0's own closed form for the last step."""
    x = jnp.asarray(POINT)
    flow = dg.worlds.exact_prior(flow)
    options = {"steps": 60, "solver": diffrax.Tsit5()}

    def ours(params, x):
        return density(dg.worlds.exact_prior(flow.replace(params=params)), x, **options)

    def truth(params, x):
        alpha = flow.end_scale()
        there = flow.replace(params=params)
        return there.log_density(alpha * x, flow.interval[1]) + 3 * jnp.log(alpha)

    got = jax.jit(jax.grad(ours, argnums=(0, 1)))(flow.params, x)
    expected = jax.grad(truth, argnums=(0, 1))(flow.params, x)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_gradients_are_finite_where_the_score_vanishes():
    """At the mode of one Gaussian the direction of the score is undefined."""
    flow = dg.worlds.gaussian(jnp.zeros(2), jnp.eye(2), log_snr=(-3.0, 3.0))

    def total(x):
        out = dg.sample(flow, x, guidance=dg.quantile(0.7), steps=8)
        return jnp.sum(out.x) + out.log_density

    value, slope = jax.jit(jax.value_and_grad(total))(jnp.zeros(2))
    assert bool(jnp.isfinite(value))
    assert bool(jnp.isfinite(slope).all())
