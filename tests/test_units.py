"""Data neither centred nor scaled: x and log p in the user's own units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import densityguide as dg

KEY = jax.random.key(2)
VP = dg.paths.variance_preserving()
MEAN, STD = np.asarray([100.0, -3.0, 0.02]), np.asarray([25.0, 0.5, 1e-3])
ENDS = (-12.0, 7.0)


def build(**more):
    """Standardised data are N(0, I), but for what the noise at the data end adds."""
    options = {"path": VP, "prediction": "noise", "shape": (3,), "log_snr": ENDS} | more
    return dg.diffusion(lambda x, t: VP.sigma(t) * x, **options)


def truth(x):
    """The closed form: N(mean, std^2 (1 + exp(-7)))."""
    width = STD * np.sqrt(1.0 + np.exp(-ENDS[1]))
    return stats.norm(MEAN, width).logpdf(np.asarray(x)).sum()


def test_log_density_is_that_of_the_users_own_data():
    flow = build(standardise=(MEAN, STD))
    x = jnp.asarray([130.0, -2.9, 0.0205])
    d = dg.log_density(flow, x, steps=32)
    np.testing.assert_allclose(d.value, truth(x), atol=1e-6)
    plain = dg.log_density(build(), (x - MEAN) / STD, steps=32)
    np.testing.assert_allclose(d.value, plain.value - np.log(STD).sum(), rtol=1e-12)
    np.testing.assert_allclose(d.latent, plain.latent, rtol=1e-12)
    np.testing.assert_allclose(d.solver_error, plain.solver_error, rtol=1e-9)


@pytest.mark.slow
def test_everything_asked_and_told_is_in_those_units():
    flow = build(standardise=(MEAN, STD))
    latent = dg.latent(flow, KEY)
    base = dg.sample(build(), latent, guidance=dg.quantile(0.7), steps=24)
    out = dg.sample(flow, latent, guidance=dg.quantile(0.7), steps=24)
    np.testing.assert_allclose(out.x, MEAN + STD * base.x, rtol=1e-12)
    for name in ("log_density", "tracked"):
        shifted = getattr(base, name) - np.log(STD).sum()
        np.testing.assert_allclose(getattr(out, name), shifted, rtol=1e-10)
    goal = float(truth(MEAN)) - 2.0
    aimed = dg.sample(flow, latent, guidance=dg.target(goal), steps=64)
    np.testing.assert_allclose(aimed.tracked, goal, atol=1e-4)
    np.testing.assert_allclose(aimed.log_density, truth(aimed.x), atol=1e-4)
    landed = dg.land(flow, latent, goal, along=dg.along.scale(), steps=24)
    np.testing.assert_allclose(landed.log_density, goal, atol=1e-5)
    same = dg.edit(flow, out.x, guidance=None, depth=0.0, steps=24)
    np.testing.assert_allclose(same.x, out.x, rtol=1e-5)
    np.testing.assert_allclose(same.before, truth(out.x), atol=1e-5)
    high = dg.high_density(flow, latent, switch=0.0, steps=64)
    np.testing.assert_allclose(high.log_density, truth(high.x), atol=1e-4)
    sde = dg.sample_sde(flow, latent, KEY, steps=24)
    np.testing.assert_allclose(sde.log_density, truth(sde.x), atol=1e-4)
    bound = dg.elbo(flow, out.x, KEY)
    assert abs(float(bound.value) - truth(out.x)) < 5.0 * float(bound.standard_error) + 0.05


@pytest.mark.slow
def test_alignment_does_not_depend_on_units():
    latent = dg.latent(build(), KEY)
    one, two = (dg.score_alignment(f, latent, steps=16) for f in (build(), scaled()))
    np.testing.assert_allclose(one.value, two.value, rtol=1e-12)
    np.testing.assert_allclose(two.x, MEAN + STD * one.x, rtol=1e-12)
    np.testing.assert_allclose(two.pushed, STD * one.pushed, rtol=1e-12)


def scaled():
    return build(standardise=(MEAN, STD))


@pytest.mark.slow
def test_units_are_traced_and_replaced():
    flow = build(standardise=(0.0, 2.0))
    traced = []

    @jax.jit
    def value(flow, x):
        traced.append(1)
        return dg.log_density(flow, x, steps=16).value

    x = jnp.ones(3)
    first = value(flow, x)
    other = value(flow.replace(standardise=(0.5, 4.0)), x)
    np.testing.assert_allclose(other, value(flow, 0.25 * jnp.ones(3)) - 3 * np.log(2), rtol=1e-9)
    assert len(traced) == 1
    assert first > other
    bare = flow.replace(standardise=None)
    np.testing.assert_allclose(dg.log_density(bare, x / 2, steps=16).value, first + 3 * np.log(2))


@pytest.mark.slow
def test_pictures_are_standardised_after_dequantisation():
    """bits/dim of 17 levels in [-1, 1) for a network of standardised values."""
    transform = dg.data.Dequantise(17)
    options = {"transform": transform, "shape": (3,)}
    flow = build(standardise=(0.1, 0.4), **options)
    images = np.asarray([[8, 3, 16], [0, 9, 9]])
    ours = dg.bits_per_dim(flow, images, KEY, draws=3, steps=16).value
    width = 0.4 * np.sqrt(1.0 + np.exp(-ENDS[1]))
    keys = jax.random.split(jax.random.split(KEY, 2)[1], 3)
    draws = [transform(images[1], jax.random.split(k)[0]) for k in keys]
    nats = np.mean([stats.norm(0.1, width).logpdf(x).sum() for x in draws])
    truth = -(nats + transform.log_jacobian(3)) / (3 * np.log(2))
    np.testing.assert_allclose(ours[1], truth, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("space", ["masked", "centred"])
def test_units_on_a_space_scale_its_own_volume(space):
    mask = np.asarray([[True], [True], [False], [True]])
    spaces = {"masked": dg.spaces.masked(mask), "centred": dg.spaces.centred(mask=mask)}
    std = np.asarray([3.0, 0.2])
    options = {"shape": (4, 2), "space": spaces[space]}
    plain, flow = build(**options), build(standardise=(1.0, std), **options)
    x = jax.random.normal(KEY, (4, 2))
    count = 3 if space == "masked" else 2
    np.testing.assert_allclose(
        dg.log_density(flow, 1.0 + std * x, steps=16).value,
        dg.log_density(plain, x, steps=16).value - count * np.log(std).sum(),
        rtol=1e-10,
    )
    assert not dg.sample(flow, x, steps=8, divergence=None).x[2].any()


@pytest.mark.slow
def test_a_model_of_raw_data_passes_verify():
    data = MEAN + STD * np.random.default_rng(0).normal(size=(64, 3))
    found = dg.verify(scaled(), KEY, data=data)
    assert found.passed, str(found)
