"""Classifier-free guidance: its two ends, its closed form, and the density it leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg


def gaussians(mean, std):
    """A network that knows p(x | class) = N(mean, std^2) on the linear path."""

    def score(params, x, t, given):
        mean, std = given
        path = dg.paths.variance_preserving()
        alpha, sigma = path.alpha(t), path.sigma(t)
        return (alpha * mean - x) / (alpha**2 * std**2 + sigma**2)

    return dg.diffusion(
        score,
        params=jnp.zeros(()),
        condition=(jnp.asarray(mean), jnp.asarray(std)),
        path=dg.paths.variance_preserving(),
        prediction="score",
        log_snr=(-14.0, 10.0),
        shape=(2,),
    )


POSITIVE, NEGATIVE = ([1.0, -0.5], [0.6, 0.6]), ([0.0, 0.0], [1.0, 1.0])
X = jnp.asarray([0.3, -0.8])


@pytest.mark.slow
def test_scales_one_and_zero_are_the_two_flows():
    flow = gaussians(*POSITIVE)
    negative = tuple(map(jnp.asarray, NEGATIVE))
    for scale, expected in ((1.0, flow), (0.0, flow.given(negative))):
        mixed = dg.classifier_free(flow, scale, negative=negative)
        ours, theirs = (dg.sample(f, X, steps=20) for f in (mixed, expected))
        np.testing.assert_allclose(ours.x, theirs.x, rtol=1e-12)
        np.testing.assert_allclose(ours.log_density, theirs.log_density, rtol=1e-12)


def test_velocity_and_score_are_mixed_and_the_interval_is_kept():
    flow = gaussians(*POSITIVE)
    mixed = dg.classifier_free(flow, 3.0, negative=NEGATIVE, interval=(-2.0, 1.0))
    other = flow.given(NEGATIVE)
    for t, scale in ((-3.0, 1.0), (0.0, 3.0), (2.0, 1.0)):
        for name in ("velocity", "score"):
            positive, negative = (getattr(f, name)(X, t) for f in (flow, other))
            expected = negative + scale * (positive - negative)
            np.testing.assert_allclose(getattr(mixed, name)(X, t), expected, rtol=1e-12)


@pytest.mark.slow
def test_log_p_is_the_mixed_flows_own():
    """Against the Jacobian of the whole map, which knows nothing of traces."""
    flow = dg.classifier_free(gaussians(*POSITIVE), 2.5, negative=NEGATIVE)
    end = lambda z: dg.sample(flow, z, steps=200, solver=dg.Adams()).x  # noqa: E731
    out = dg.sample(flow, X, steps=200, solver=dg.Adams())
    volume = jnp.linalg.slogdet(jax.jacfwd(end)(X))[1]
    np.testing.assert_allclose(out.log_density, flow.prior.log_prob(X) - volume, atol=1e-5)


@pytest.mark.slow
def test_the_mixed_score_is_not_its_gradient_and_the_residual_shows():
    """Composed with density guidance: consistent at scale 1, not at scale 4, and landed on the
    target either way."""
    goal = -1.0

    def residual(scale):
        flow = dg.classifier_free(gaussians(*POSITIVE), scale, negative=NEGATIVE)
        out = dg.sample(flow, X, guidance=dg.target(goal), steps=400)
        closed = dg.land(flow, X, goal, steps=400, tolerance=1e-4)
        again = dg.log_density(flow, closed.x, steps=400)
        np.testing.assert_allclose(again.value, goal, atol=2e-3)
        return abs(float(out.log_density - out.tracked))

    assert residual(1.0) < 1e-3
    assert residual(4.0) > 0.05


def test_scales_and_negatives_are_traced():
    flow, traces = gaussians(*POSITIVE), []

    @jax.jit
    def draw(flow, x):
        traces.append(1)
        return dg.sample(flow, x, steps=4).x

    for scale, shift in ((1.5, 0.0), (3.0, 0.2), (jnp.asarray(2.0), 0.1)):
        negative = (jnp.asarray([shift, 0.0]), jnp.ones(2))
        draw(dg.classifier_free(flow, scale, negative=negative, interval=(-4.0, shift)), X)
    assert len(traces) == 1


def test_bad_input():
    flow = gaussians(*POSITIVE)
    with pytest.raises(ValueError, match="built with condition="):
        dg.classifier_free(dg.worlds.gaussian([0.0], [[1.0]]), 2.0, negative=0)
    with pytest.raises(ValueError, match="negative must look like the flow's condition"):
        dg.classifier_free(flow, 2.0, negative=jnp.zeros(2))
