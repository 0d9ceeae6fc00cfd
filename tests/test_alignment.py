"""Score alignment: both forms against each other, finite differences, and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import TIGHT, closed_form, decode, every_world, gaussian, latents, matrices

import densityguide as dg
from densityguide.flow import priors


@partial(jax.jit, static_argnames=("use_score", "options"))
def _aligned(flow, x, direction, use_score, options):
    def one(x, d):
        return dg.score_alignment(flow, x, direction=d, use_score=use_score, **dict(options))

    return jax.vmap(one, in_axes=(0, None if direction is None else 0))(x, direction)


def aligned(flow, x, direction=None, use_score=True, **options):
    return _aligned(flow, x, direction, use_score, tuple(sorted(options.items())))


def directions(flow, x):
    """The prior's score, the latent itself, and a random mask of it; three of each sample."""
    mask = jax.random.bernoulli(jax.random.key(8), 0.5, x.shape)
    return jnp.stack([jax.vmap(partial(priors.score, flow.prior))(x), x, x * mask])


@every_world()
def test_both_forms_agree_and_match_finite_differences(name, path):
    from oracles import world

    flow = world(name, path)
    x = latents(flow, 4)
    d = directions(flow, x)
    flat_x, flat_d = jnp.tile(x, (3, 1)), d.reshape(-1, flow.size)
    options = TIGHT
    with_score = aligned(flow, flat_x, flat_d, **options)
    without = aligned(flow, flat_x, flat_d, False, **options)
    scale = np.abs(with_score.value).max()
    np.testing.assert_allclose(without.value, with_score.value, rtol=1e-8, atol=1e-8 * scale)
    np.testing.assert_allclose(without.cosine, with_score.cosine, atol=1e-7)
    # d/da log p_0(Phi(x_T + a d)) at a = 0, by central differences of the closed form.
    step = 1e-4 * jnp.linalg.norm(flat_x, axis=1) / jnp.linalg.norm(flat_d, axis=1)
    ends = [
        closed_form(flow, decode(flow, flat_x + s * step[:, None] * flat_d, **TIGHT).x)
        for s in (-1.0, 1.0)
    ]
    numeric = (ends[1] - ends[0]) / (2 * step)
    np.testing.assert_allclose(with_score.value, numeric, rtol=1e-5, atol=1e-5 * scale)
    # The first of the three is what no direction means.
    default = aligned(flow, flat_x[:4], None, **options)
    np.testing.assert_allclose(default.value, with_score.value[:4], rtol=1e-9)


@pytest.mark.slow
def test_cosine_and_pushed_direction():
    """The pushed direction is the tangent of the decoded sample, cosine that with its score."""
    flow = gaussian(4, "linear")
    x = latents(flow, 3)
    out = aligned(flow, x, x, **TIGHT)
    step = 1e-4
    ends = [decode(flow, x * (1 + s * step), **TIGHT).x for s in (-1.0, 1.0)]
    numeric = (ends[1] - ends[0]) / (2 * step)
    np.testing.assert_allclose(out.pushed, numeric, rtol=1e-6, atol=1e-6)
    alpha = flow.end_scale()
    score = alpha * jax.vmap(lambda x: flow.score(alpha * x, flow.interval[1]))(out.x)
    value = jnp.sum(score * out.pushed, axis=1)
    np.testing.assert_allclose(out.value, value, rtol=1e-10)
    norms = jnp.linalg.norm(score, axis=1) * jnp.linalg.norm(out.pushed, axis=1)
    np.testing.assert_allclose(out.cosine, value / norms, rtol=1e-10)


@pytest.mark.parametrize("use_score", [True, False])
def test_gaussian_alignment_is_invariant(use_score):
    """SA = y^T C_T^-1 y, y = C_T^(-1/2) (x_T - alpha_T mean): the same wherever the solve ends."""
    values = []
    for stop in (0.0, 6.0):
        flow = gaussian(4, "vp", (-6.0, stop))
        x = latents(flow, 6)
        values.append(aligned(flow, x, None, use_score, **TIGHT).value)
    _, means, covariances = matrices(flow, -6.0)
    values_, basis = np.linalg.eigh(covariances[0])
    y = (np.asarray(x) - means[0]) @ basis / np.sqrt(values_)
    truth = np.sum(y**2 / values_, axis=1)
    np.testing.assert_allclose(values[0], truth, rtol=1e-8)
    np.testing.assert_allclose(values[1], truth, rtol=1e-8)


@pytest.mark.slow
def test_estimated_traces_are_unbiased_with_honest_errors():
    from oracles import world

    flow = world("mixture12", "vp", (-6.0, 3.0))
    x = latents(flow, 1)[0]
    keys = jax.random.split(jax.random.key(2), 200)
    exact = dg.score_alignment(flow, x, steps=40, use_score=False)
    trace = dg.hutchinson(4)

    def one(key):
        return dg.score_alignment(flow, x, steps=40, use_score=False, divergence=trace, key=key)

    out = jax.jit(jax.vmap(one))(keys)
    error = np.asarray(out.value - exact.value)
    assert error.std() > 0
    assert abs(error.mean()) < 4.5 * error.std() / 200**0.5
    ratio = error.std() / np.sqrt(np.mean(np.asarray(out.standard_error) ** 2))
    assert 0.8 < ratio < 1.25


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [(1, 0.47, 0.53), (2, 0.73, 0.785), (8, 0.997, 1.0), (32, 0.9995, 1.0)],
)
def test_bimodal_pass_rates(size, low, high):
    """Modes +-2 e1, std 0.3: 0.500, 0.757, 0.9995, 1.000 pass, for 4000 latents each."""
    means = np.zeros((2, size))
    means[:, 0] = (-2.0, 2.0)
    flow = dg.worlds.mixture([0.5, 0.5], means, 0.3)
    out = aligned(flow, latents(flow, 4000), None, steps=64)
    fraction = float((out.value > 0).mean())
    print("bimodal", size, fraction)
    assert low <= fraction <= high
