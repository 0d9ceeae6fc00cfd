"""Priors: each the density it says, sampled from, and carried through a flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import densityguide as dg

KEY = jax.random.key(1)
MEANS = np.asarray([[-2.0, 0.5, 1.0], [1.0, 0.0, -1.0]])
WIDTHS = np.asarray([[0.5, 1.0, 2.0], [0.3, 0.7, 0.2]])


def mixture_log_pdf(x):
    parts = stats.norm(MEANS, WIDTHS).logpdf(np.asarray(x)).sum(1)
    return special.logsumexp(parts, b=[0.25, 0.75])


BOX = np.asarray([-1.0, 0.0, 2.0]), np.asarray([1.0, 3.0, 2.5])
TRUTHS = {  # scipy's log-density of one x
    "normal": stats.multivariate_normal(np.zeros(3), 1.7**2 * np.eye(3)).logpdf,
    "student": stats.multivariate_t(np.zeros(3), 1.7**2 * np.eye(3), df=4.5).logpdf,
    "uniform": lambda x: stats.uniform(BOX[0], BOX[1] - BOX[0]).logpdf(np.asarray(x)).sum(),
    "mixture": mixture_log_pdf,
}


def named(name):
    """The prior (made inside a test, in float64) and its closed form."""
    makers = {
        "normal": lambda: dg.priors.normal((3,), 1.7),
        "student": lambda: dg.priors.student((3,), 4.5, 1.7),
        "uniform": lambda: dg.priors.uniform((3,), *BOX),
        "mixture": lambda: dg.priors.mixture([1.0, 3.0], MEANS, WIDTHS),
    }
    return makers[name](), TRUTHS[name]


def drawn(prior, count=4000):
    return jax.vmap(prior.sample)(jax.random.split(KEY, count))


@pytest.mark.parametrize("name", TRUTHS)
def test_log_density_is_scipys(name):
    prior, truth = named(name)
    for x in drawn(prior, 3):
        np.testing.assert_allclose(prior.log_prob(x), truth(x), rtol=1e-12)
        if name != "uniform":
            step = 1e-5 * np.eye(3)
            slope = [(truth(x + h) - truth(x - h)) / 2e-5 for h in step]
            np.testing.assert_allclose(dg.priors.score(prior, x), slope, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTHS)
def test_samples_are_of_that_density(name):
    """The mean of log p over samples is minus the entropy, by the density's own integral: here
    from draws of scipy's, with the error of both."""
    prior, truth = named(name)
    ours = np.asarray(jax.vmap(prior.log_prob)(drawn(prior)))
    rng = np.random.default_rng(0)
    if name == "mixture":
        k = (rng.random(4000) < 0.75).astype(int)
        theirs = MEANS[k] + WIDTHS[k] * rng.normal(size=(4000, 3))
    elif name == "student":
        theirs = stats.multivariate_t(np.zeros(3), 1.7**2 * np.eye(3), df=4.5, seed=0).rvs(4000)
    elif name == "normal":
        theirs = 1.7 * rng.normal(size=(4000, 3))
    else:
        theirs = BOX[0] + (BOX[1] - BOX[0]) * rng.random((4000, 3))
    theirs = np.asarray([truth(x) for x in theirs])
    spread = np.hypot(ours.std(), theirs.std()) / 4000**0.5
    assert abs(ours.mean() - theirs.mean()) <= 4.0 * spread + 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTHS)
def test_a_flow_carries_it(name):
    """x = e z: log p falls by 3, whatever the prior."""
    prior, truth = named(name)
    flow = dg.cnf(lambda x, t: x, prior=prior, interval=(0.0, 1.0), shape=(3,))
    z = drawn(prior, 1)[0]
    out = dg.sample(flow, z, steps=32)
    np.testing.assert_allclose(out.log_density, truth(z) - 3.0, atol=1e-5)
    middle = jnp.asarray([0.1, 1.5, 2.2])  # of the box
    back = dg.log_density(flow, jnp.e * middle, steps=128)
    np.testing.assert_allclose(back.value, truth(middle) - 3.0, atol=1e-5)


def test_outside_a_box_there_is_no_density():
    prior = dg.priors.uniform((2,))
    assert prior.log_prob(jnp.asarray([0.0, 1.1])) == -jnp.inf
    flow = dg.cnf(lambda x, t: x, prior=prior, interval=(0.0, 1.0), shape=(2,))
    assert dg.log_density(flow, jnp.asarray([0.0, 3.0]), steps=16).value == -jnp.inf


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3,), (40, 5)])
@pytest.mark.parametrize("degrees", [1.5, 8.0, 1e6])
def test_student_radii_are_those_of_f(shape, degrees):
    """r^2 / d ~ F(d, degrees); and rescale by q gives the latent that radius."""
    size = int(np.prod(shape))
    flow = dg.cnf(
        lambda x, t: x,
        prior=dg.priors.student(shape, degrees, 0.4),
        interval=(0.0, 1.0),
        shape=shape,
    )
    latent = dg.latent(flow, KEY)
    for q in (0.02, 0.5, 0.9):
        truth = 0.4 * np.sqrt(size * stats.f(size, degrees).ppf(1.0 - q))
        ours = jnp.linalg.norm(dg.rescale(flow, latent, q))
        np.testing.assert_allclose(ours, truth, rtol=1e-6)


def test_radii_count_the_dimensions_of_the_space():
    """A latent's norm on a space is chi with d degrees, and not D."""
    mask = np.arange(7) < 4
    flow = dg.cnf(
        lambda x, t: x,
        prior=dg.priors.normal((7,), 0.4),
        interval=(0.0, 1.0),
        shape=(7,),
        space=dg.spaces.masked(mask),
    )
    latent = jnp.arange(7.0) - 2.5
    ours = dg.rescale(flow, latent, 0.3)
    np.testing.assert_allclose(jnp.linalg.norm(ours), 0.4 * stats.chi(4).ppf(0.7), rtol=1e-9)
    assert not ours[4:].any()


@pytest.mark.parametrize("name", TRUTHS)
def test_on_a_mask_each_is_the_density_of_what_is_there(name):
    """The marginal of the entries that are left: for all four it has the same closed form."""
    mask = np.asarray([True, False, True])
    prior = dg.priors.on(named(name)[0], dg.spaces.masked(mask))
    x = drawn(prior, 1)[0]
    assert x[1] == 0.0
    kept = np.asarray(x)[mask]
    truth = {
        "normal": stats.multivariate_normal(np.zeros(2), 1.7**2).logpdf,
        "student": stats.multivariate_t(np.zeros(2), 1.7**2 * np.eye(2), df=4.5).logpdf,
        "uniform": lambda x: -np.log(2.0) - np.log(0.5),
        "mixture": lambda x: special.logsumexp(
            stats.norm(MEANS[:, mask], WIDTHS[:, mask]).logpdf(x).sum(1), b=[0.25, 0.75]
        ),
    }[name]
    np.testing.assert_allclose(prior.log_prob(x.at[1].set(jnp.nan)), truth(kept), rtol=1e-12)


def test_sphere_and_torus_are_uniform():
    sphere, torus = dg.priors.sphere((2, 3)), dg.priors.torus((5,), 3.0)
    x, a = drawn(sphere), drawn(torus)
    np.testing.assert_allclose(jnp.linalg.norm(x, axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(jnp.mean(x, axis=0), 0.0, atol=4.0 / np.sqrt(3 * 4000))
    np.testing.assert_allclose(sphere.log_prob(x[0]), -2 * np.log(4 * np.pi), rtol=1e-12)
    np.testing.assert_allclose(torus.log_prob(a[0]), -5 * np.log(3.0), rtol=1e-12)
    assert float(jnp.abs(a).max()) <= 1.5
