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
ENDS = (-16.0, 7.0)


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
    d = dg.log_density(flow, x, steps=256)
    np.testing.assert_allclose(d.value, truth(x), atol=1e-5)
    plain = dg.log_density(build(), (x - MEAN) / STD, steps=256)
    np.testing.assert_allclose(d.value, plain.value - np.log(STD).sum(), rtol=1e-12)
    np.testing.assert_allclose(d.latent, plain.latent, rtol=1e-12)
    np.testing.assert_allclose(d.solver_error, plain.solver_error, rtol=1e-9)


LOGS = float(np.log(STD).sum())
VERBS = {  # of a flow, a latent, a sample, and how much its log p is lower
    "sample": lambda f, z, x, off: dg.sample(f, z, guidance=dg.quantile(0.7), steps=16),
    "target": lambda f, z, x, off: dg.sample(f, z, guidance=dg.target(-5.0 - off), steps=16),
    "edit": lambda f, z, x, off: dg.edit(f, x, guidance=dg.budget(1.0), depth=0.0, steps=16),
    "high_density": lambda f, z, x, off: dg.high_density(f, z, switch=0.0, steps=16),
    "sample_sde": lambda f, z, x, off: dg.sample_sde(f, z, KEY, steps=16),
    "elbo": lambda f, z, x, off: dg.elbo(f, x, KEY),
    "track_mode": lambda f, z, x, off: dg.track_mode(f, z, start=0.0, steps=8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VERBS)
def test_everything_asked_and_told_is_in_those_units(name):
    """What a verb makes of the network's own flow, moved: x by the units, log p by their volume."""
    plain, flow = build(), scaled()
    latent, z = dg.latent(flow, KEY), jnp.asarray([0.4, -1.0, 0.2])
    one = VERBS[name](plain, latent, z, 0.0)._asdict()
    two = VERBS[name](flow, latent, MEAN + STD * z, LOGS)._asdict()
    compared = 0
    for field in set(one) & {"x", "log_density", "tracked", "before", "value"}:
        moved = MEAN + STD * one[field] if field == "x" else one[field] - LOGS
        np.testing.assert_allclose(two[field], moved, rtol=1e-7, atol=1e-7, err_msg=field)
        compared += 1
    assert compared
    np.testing.assert_array_equal(one["evaluations"], two["evaluations"])


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
    ours = dg.bits_per_dim(flow, images, KEY, draws=3, steps=128).value
    width = 0.4 * np.sqrt(1.0 + np.exp(-ENDS[1]))
    keys = jax.random.split(jax.random.split(KEY, 2)[1], 3)
    draws = [transform(images[1], jax.random.split(k)[0]) for k in keys]
    nats = np.mean([stats.norm(0.1, width).logpdf(x).sum() for x in draws])
    truth = -(nats + transform.log_jacobian(3)) / (3 * np.log(2))
    np.testing.assert_allclose(ours[1], truth, atol=1e-4)


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
