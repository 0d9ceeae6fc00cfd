"""Log p along SDEs against the closed form, and the two-sided bound on the score's error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_form, latents, world

import densityguide as dg

COUNT = 128


def run(flow, steps, **options):
    def one(key):
        return dg.sample_sde(flow, dg.latent(flow, key), key, steps=steps, measure=False, **options)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), COUNT))


def errors(flow, out):
    return np.asarray(out.tracked - closed_form(flow, out.x))


@pytest.fixture(scope="module")
def flow():
    return world("mixture12", ends=(-6.0, 4.0))


@pytest.mark.slow
def test_ito_form_converges_pathwise_at_half_order_and_faster_in_the_mean(flow):
    coarse, fine = (errors(flow, run(flow, steps)) for steps in (64, 1024))
    order = np.log2(coarse.std() / fine.std()) / 4
    assert 0.35 < order < 0.75
    assert abs(fine.mean()) < 0.3 * abs(coarse.mean())


@pytest.mark.slow
def test_stratonovich_form_removes_the_leading_error(flow):
    ito = errors(flow, run(flow, 128))
    coarse, fine = (errors(flow, run(flow, n, tracking=dg.exact())) for n in (32, 128))
    assert fine.std() < 0.1 * ito.std()
    assert np.log2(coarse.std() / fine.std()) / 2 > 0.8


def test_what_is_tracked_without_a_trace_claims_no_error(flow):
    out = dg.sample_sde(flow, latents(flow, 1)[0], jax.random.key(0), steps=8, measure=False)
    assert np.isnan(out.tracked_error)
    traced = {"tracking": dg.exact(), "steps": 8, "measure": False}
    assert dg.sample_sde(flow, latents(flow, 1)[0], jax.random.key(0), **traced).tracked_error == 0


def test_samples_have_the_data_distribution(flow):
    out = run(flow, 256)
    world_params = flow.params
    mean = world_params.weights @ world_params.means
    spread = out.x.std(axis=0) / COUNT**0.5
    assert np.all(np.abs(out.x.mean(axis=0) - mean) < 4.5 * spread)


@pytest.mark.slow
def test_track_sde_agrees_with_the_reverse_sde_form(flow):
    # The same SDE through the general identity: same x, another formula for log p.
    path = flow.path

    def drift(p, x, t):
        return path.drift(t) * x + path.sigma(t) ** 2 * flow.score(x, t)

    def one(key):
        x = dg.latent(flow, key)
        return dg.track_sde(
            flow, x, key, drift=drift, diffusion=lambda p, x, t, w: path.sigma(t) * w, steps=512
        )

    out = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), COUNT))
    off = errors(flow, out)
    assert abs(off.mean()) < 0.35
    assert off.std() < 2.0


@pytest.mark.slow
def test_track_sde_with_a_rectangular_noise_matrix(flow):
    # Noise of 3 dimensions; the drift keeps the flow's marginals irrelevant to the identity.
    matrix = 0.2 * jax.random.normal(jax.random.key(3), (12, 3))

    def one(key, steps):
        return dg.track_sde(
            flow,
            dg.latent(flow, key),
            key,
            drift=lambda p, x, t: flow.velocity(x, t),
            diffusion=lambda p, x, t, w: p @ w,
            params=matrix,
            noise_shape=(3,),
            steps=steps,
        )

    keys = jax.random.split(jax.random.key(1), COUNT)
    sizes = []
    for steps in (64, 1024):
        out = jax.jit(jax.vmap(lambda k, n=steps: one(k, n)))(keys)
        sizes.append(np.sqrt(np.mean(errors(flow, out) ** 2)))
    assert sizes[1] < 0.4 * sizes[0]
    assert sizes[1] < 0.5


def test_elbo_is_tight_for_an_exact_score_and_low_by_the_score_error_otherwise(flow):
    x = run(flow, 256).x[:64]
    keys = jax.random.split(jax.random.key(5), 64)

    def bound(flow):
        return jax.jit(jax.vmap(lambda x, k: dg.elbo(flow, x, k, levels=64, replicates=8)))(x, keys)

    tight = bound(flow)
    off = np.asarray(tight.value - closed_form(flow, x))
    error = np.asarray(tight.standard_error)
    # Started from N(0, sigma^2 I) instead of the exact marginal the bound is low by their
    # divergence, about exp(-6) here.
    assert abs(off.mean()) < 4 * np.sqrt(np.mean(error**2) / 64) + 0.1
    assert np.std(off / error) < 1.8

    # Add a constant error e to the score: the bound falls by int sigma^2 |e|^2 / 2.
    path, size = flow.path, 0.3

    def apply(p, x, t):
        return flow.score(x, t) + p / path.sigma(t)

    wrong = dg.diffusion(
        apply,
        params=jnp.full((12,), size),
        path=path,
        prediction="score",
        log_snr=(-6.0, 4.0),
        shape=(12,),
    )
    loss = float(np.mean(tight.value - bound(wrong).value))
    assert loss == pytest.approx(0.5 * 12 * size**2 * 10.0, rel=0.15)


@pytest.mark.slow
def test_elbo_is_tight_where_the_end_is_noisy():
    """Half of the variance at the data end is noise: it is part of x, and not added again."""
    flow = dg.worlds.gaussian(np.zeros(6), np.eye(6), log_snr=(-9.0, 0.0))
    x = jax.vmap(lambda key: dg.sample(flow, dg.latent(flow, key), steps=48).x)(
        jax.random.split(jax.random.key(2), 64)
    )
    keys = jax.random.split(jax.random.key(5), 64)
    out = jax.jit(jax.vmap(lambda x, k: dg.elbo(flow, x, k, levels=64, replicates=8)))(x, keys)
    off, error = np.asarray(out.value - closed_form(flow, x)), np.asarray(out.standard_error)
    assert abs(off.mean()) < 4 * np.sqrt(np.mean(error**2) / 64) + 0.01


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f, x, k: dg.sample_sde(f, x, None), "needs a key"),
        (lambda f, x, k: dg.sample_sde(f, x, k, rtol=1e-3), "no option 'rtol'"),
        (lambda f, x, k: dg.elbo(f, x, k, replicates=1), "at least 2"),
        (lambda f, x, k: dg.elbo(f, x.astype(int), k), "float array"),
    ],
)
def test_bad_input(flow, call, words):
    with pytest.raises(ValueError, match=words):
        call(flow, jnp.ones(12), jax.random.key(0))
