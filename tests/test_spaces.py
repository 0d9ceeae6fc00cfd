"""Flows that do not fill R^D: log p counts the dimensions that there are, and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import TIGHT
from scipy import stats
from scipy.special import i0

import densityguide as dg

VP = dg.paths.variance_preserving()
MASK = np.asarray([True, False, True, True, False, True])
ENDS = (-8.0, 6.0)
KEY = jax.random.key(0)


def noise_of(std):
    """The best noise prediction for N(0, std^2) in every entry, ruined where x is 0: a network
    that reads padding, and writes into it."""

    def network(x, t):
        alpha, sigma = VP.alpha(t), VP.sigma(t)
        out = sigma * x / (alpha**2 * std**2 + sigma**2)
        return jnp.where(x == 0.0, jnp.nan, out)

    return network


def short(std=0.7, size=4):
    return dg.diffusion(
        noise_of(std), path=VP, prediction="noise", shape=(size,), log_snr=ENDS, params=None
    )


def padded(std=0.7, **more):
    space = dg.spaces.masked(MASK)
    return dg.diffusion(
        noise_of(std), path=VP, prediction="noise", shape=(6,), log_snr=ENDS, space=space, **more
    )


def unpadded(x):
    return x[MASK]


@pytest.mark.parametrize("padding", [1e6, np.nan])
def test_padding_counts_no_dimension_whatever_it_holds(padding):
    x = jax.random.normal(KEY, (6,))
    given = jnp.where(MASK, x, padding)
    long, plain = padded(), short()
    assert float(long.dimensions) == 4.0
    ours, theirs = dg.log_density(long, given, steps=32), dg.log_density(plain, x[MASK], steps=32)
    np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-12)
    np.testing.assert_allclose(ours.latent, jnp.zeros(6).at[MASK].set(theirs.latent), rtol=1e-12)
    np.testing.assert_allclose(ours.solver_error, theirs.solver_error, rtol=1e-6)


@pytest.mark.slow
def test_guidance_in_padding_is_that_of_the_unpadded_problem():
    x = jax.random.normal(KEY, (6,))
    long, plain = padded(), short()
    out = dg.sample(long, jnp.where(MASK, x, jnp.nan), guidance=dg.quantile(0.7), steps=24)
    base = dg.sample(plain, x[MASK], guidance=dg.quantile(0.7), steps=24)
    np.testing.assert_allclose(out.x, jnp.zeros(6).at[MASK].set(base.x), rtol=1e-10)
    for name in ("log_density", "tracked", "unmet"):
        np.testing.assert_allclose(getattr(out, name), getattr(base, name), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_one_program_serves_every_mask():
    traced = []

    @jax.jit
    def value(flow, x):
        traced.append(1)
        return dg.log_density(flow, x, steps=16).value

    x, base = jax.random.normal(KEY, (6,)), padded()
    for count in (2, 5):
        mask = np.arange(6) < count
        flow = base.replace(space=dg.spaces.masked(mask))
        truth = dg.log_density(short(size=count), x[:count], steps=16).value
        np.testing.assert_allclose(value(flow, x), truth, rtol=1e-12)
    assert len(traced) == 1
    masks = np.arange(6)[None] < np.asarray([[2], [5]])

    def one(mask):
        return dg.log_density(base.replace(space=dg.spaces.masked(mask)), x, steps=16).value

    np.testing.assert_allclose(jax.vmap(one)(masks)[1], truth, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["elbo", "sde", "bits", "noise", "edit", "high_density"])
def test_every_verb_counts_as_the_unpadded_problem_does(verb):
    """Where the draws differ, on average or in what does not depend on them."""
    x = jax.random.normal(KEY, (6,))
    long, plain = padded(), short()
    if verb == "elbo":
        one, two = (
            dg.elbo(flow, at, KEY, levels=128, replicates=8)
            for flow, at in ((long, x), (plain, x[MASK]))
        )
        spread = np.hypot(one.standard_error, two.standard_error)
        assert abs(float(one.value - two.value)) < 4.0 * spread
    elif verb == "bits":
        assert float(dg.nats(long, 1.0)) == pytest.approx(4 * np.log(2))
    elif verb == "edit":
        one = dg.edit(long, x, guidance=dg.budget(2.0), depth=-1.0, steps=16)
        two = dg.edit(plain, x[MASK], guidance=dg.budget(2.0), depth=-1.0, steps=16)
        np.testing.assert_allclose(one.log_density, two.log_density, rtol=1e-9)
        np.testing.assert_allclose(one.before, two.before, rtol=1e-9)
        np.testing.assert_allclose(6 * one.moved**2, 4 * two.moved**2, rtol=1e-9)
    elif verb == "high_density":
        one = dg.high_density(long, x, switch=1.0, steps=16)
        two = dg.high_density(plain, x[MASK], switch=1.0, steps=16)
        np.testing.assert_allclose(one.tracked, two.tracked, rtol=1e-9)
        np.testing.assert_allclose(one.log_density, two.log_density, rtol=1e-9)
    else:
        options = {"noise": dg.noise.constant(0.3), "key": KEY, "steps": 48}
        if verb == "sde":
            out = dg.sample_sde(long, x, KEY, steps=48)
        else:
            out = dg.sample(long, x, guidance=dg.quantile(0.5), **options)
        assert np.all(np.asarray(out.x)[~MASK] == 0.0)
        truth = stats.norm(scale=np.sqrt(0.49 + np.exp(-ENDS[1]))).logpdf(out.x[MASK]).sum()
        np.testing.assert_allclose(out.log_density, truth, atol=2e-2)


N, AXES = 5, 2


def sheared(x):
    """A matrix that mixes particles and axes, and does not keep the centre."""
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(N * AXES, N * AXES)) / 4.0) @ x.ravel()


def basis(mask=None):
    """Orthonormal columns of the centred space, by a singular value decomposition."""
    mask = np.ones(N, bool) if mask is None else mask
    there = np.diag(mask.astype(float))
    projector = there - np.outer(mask, mask) / mask.sum()
    left, values, _ = np.linalg.svd(np.kron(projector, np.eye(AXES)))
    return left[:, values > 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("mask", [None, np.asarray([True, True, False, True, False])])
def test_particles_without_centre_of_mass(mask):
    """A linear velocity A x: log p in an orthonormal basis U of the space is that of the flow with
    U^T A U, exactly and, over many probes, on average."""
    there = None if mask is None else mask[:, None]
    space = dg.spaces.centred(mask=there)
    u = basis(mask)
    size = u.shape[1]
    assert size == ((N if mask is None else 3) - 1) * AXES
    shape = (N, AXES)
    flow = dg.cnf(
        lambda x, t: sheared(x).reshape(shape),
        prior=dg.priors.normal(shape, 1.3),
        interval=(0.0, 1.0),
        shape=shape,
        space=space,
    )
    small = dg.cnf(
        lambda z, t: u.T @ sheared((u @ z).reshape(shape)),
        prior=dg.priors.normal((size,), 1.3),
        interval=(0.0, 1.0),
        shape=(size,),
    )
    assert float(flow.dimensions) == size
    x = 3.0 + jax.random.normal(KEY, shape)  # its centre is not read
    z = u.T @ x.ravel()
    ours, theirs = dg.log_density(flow, x, **TIGHT), dg.log_density(small, z, **TIGHT)
    np.testing.assert_allclose(ours.value, theirs.value, atol=1e-8)
    np.testing.assert_allclose(ours.latent.ravel(), u @ theirs.latent, atol=1e-8)
    trace = dg.hutchinson(400)
    rough = dg.log_density(flow, x, divergence=trace, key=jax.random.key(3), steps=16)
    exact = dg.log_density(flow, x, steps=16)
    assert abs(float(rough.value - exact.value)) < 4.0 * float(rough.standard_error)
    latent = dg.latent(flow, KEY)
    np.testing.assert_allclose(jnp.sum(latent, axis=0), 0.0, atol=1e-12)
    truth = stats.norm(scale=1.3).logpdf(u.T @ latent.ravel()).sum()
    np.testing.assert_allclose(flow.prior.log_prob(latent), truth, rtol=1e-10)
    score = dg.priors.score(flow.prior, latent)
    np.testing.assert_allclose(score, -latent / 1.3**2, atol=1e-10)


def centred_noise(x, t):
    """Of N(0, 0.6^2) in every entry, with a force on the centre that the space takes away."""
    return VP.sigma(t) * (x + 7.0) / (VP.alpha(t) ** 2 * 0.36 + VP.sigma(t) ** 2)


@pytest.mark.slow
def test_a_diffusion_of_centred_particles_has_the_closed_form():
    """Independent N(0, s^2) of all entries, projected: (N - 1) d dimensions at every turn."""
    options = {"path": VP, "prediction": "noise", "log_snr": (-12.0, 5.0)}
    flow = dg.diffusion(centred_noise, shape=(4, 3), space=dg.spaces.centred(), **options)
    small = dg.diffusion(lambda x, t: centred_noise(x - 7.0, t), shape=(3, 3), **options)
    x = jax.random.normal(KEY, (4, 3))
    u = np.linalg.svd(np.eye(4) - 0.25)[0][:, :3]
    width = np.sqrt(0.36 + np.exp(-5.0))

    def truth(x):
        return stats.norm(scale=width).logpdf(u.T @ np.asarray(x)).sum()

    value = dg.log_density(flow, x, steps=64).value
    np.testing.assert_allclose(value, dg.log_density(small, u.T @ x, steps=64).value, rtol=1e-10)
    value = dg.log_density(flow, x, steps=256).value
    np.testing.assert_allclose(value, truth(x), atol=1e-4)
    out = dg.sample(flow, dg.latent(flow, KEY), guidance=dg.target(-4.0), steps=256)
    np.testing.assert_allclose(out.log_density, truth(out.x), atol=1e-3)
    np.testing.assert_allclose(out.tracked, -4.0, atol=1e-3)
    np.testing.assert_allclose(jnp.mean(out.x, axis=0), 0.0, atol=1e-12)


def vonmises_field(kappa):
    """A potential flow of the circle as a curve in the plane, and on its angle."""

    def plane(x, t):
        return jnp.asarray([0.0, kappa]) * (1.0 + t) + jnp.asarray([-x[1], x[0]])

    def angle(a, t):
        return kappa * (1.0 + t) * jnp.cos(a) + 1.0

    return plane, angle


@pytest.mark.slow
def test_circle_and_torus_are_one_flow():
    """The unit circle in the plane and its angle, told by two spaces; and both against the solved
    ODE of one angle, whose density follows from the derivative of its map."""
    plane, angle = vonmises_field(0.8)
    options = {"interval": (0.0, 1.0)}
    circle = dg.cnf(
        plane, prior=dg.priors.sphere((2,)), shape=(2,), space=dg.spaces.sphere(), **options
    )
    torus = dg.cnf(
        angle, prior=dg.priors.torus((1,)), shape=(1,), space=dg.spaces.torus(), **options
    )
    start = jnp.asarray([2.9])
    a = dg.sample(torus, start, **TIGHT)
    x = dg.sample(circle, jnp.asarray([jnp.cos(2.9), jnp.sin(2.9)]) * 3.0, **TIGHT)
    assert -np.pi <= float(a.x[0]) < np.pi
    np.testing.assert_allclose(jnp.arctan2(x.x[1], x.x[0]), a.x[0], atol=1e-8)
    np.testing.assert_allclose(x.log_density, a.log_density, atol=1e-8)

    from scipy.integrate import solve_ivp

    ends = [
        solve_ivp(
            lambda t, y: 0.8 * (1 + t) * np.cos(y) + 1.0, (0, 1), [b], rtol=1e-12, atol=1e-12
        ).y[0, -1]
        for b in (2.9 - 1e-4, 2.9 + 1e-4)
    ]
    truth = -np.log(2 * np.pi) - np.log((ends[1] - ends[0]) / 2e-4)
    np.testing.assert_allclose(a.log_density, truth, atol=1e-6)
    # Encoding: any angle of the same point, any length of the same direction.
    for turns in (-2, 3):
        again = dg.log_density(torus, a.x + 2 * np.pi * turns, **TIGHT).value
        np.testing.assert_allclose(again, truth, atol=1e-6)
    np.testing.assert_allclose(dg.log_density(circle, 5.0 * x.x, **TIGHT).value, truth, atol=1e-6)


def test_the_density_on_a_sphere_adds_up_to_one():
    """A velocity in R^3 that is neither tangent nor constant along radii: the sphere's part of it
    alone counts, with exact and with estimated traces."""
    flow = dg.cnf(
        lambda x, t: 0.3 * (jnp.asarray([0.0, 0.0, 1.5]) * x[0] + x + jnp.sin(2.0 * x[::-1])),
        prior=dg.priors.sphere((3,)),
        interval=(0.0, 1.0),
        shape=(3,),
        space=dg.spaces.sphere(),
    )
    nodes, weights = np.polynomial.legendre.leggauss(24)
    angles = 2 * np.pi * (np.arange(48) + 0.5) / 48
    z, a = (each.ravel() for each in np.meshgrid(nodes, angles, indexing="ij"))
    x = jnp.stack([np.sqrt(1 - z**2) * np.cos(a), np.sqrt(1 - z**2) * np.sin(a), z], 1)
    value = jax.jit(jax.vmap(lambda x: dg.log_density(flow, x, steps=32).value))(x)
    total = np.sum(np.repeat(weights, 48) * np.exp(value)) * 2 * np.pi / 48
    np.testing.assert_allclose(total, 1.0, atol=1e-4)
    rough = dg.log_density(flow, x[5], divergence=dg.hutchinson(500), key=KEY, steps=32)
    assert abs(float(rough.value - value[5])) < 4.0 * float(rough.standard_error)


@jax.tree_util.register_static
class VonMises:
    """A prior of one's own on the circle: log p = kappa cos(a) + const."""

    def sample(self, key):
        return dg.priors.sphere((2,)).sample(key)

    def log_prob(self, x):
        return KAPPA * x[0] / jnp.linalg.norm(x) - np.log(2 * np.pi * i0(KAPPA))


KAPPA = 1.7


@pytest.mark.slow
def test_guidance_on_the_circle_moves_log_p():
    """Von Mises turning by one radian: at the end log p = kappa cos(a - 1) + const, and it has
    risen by the budget."""
    flow = dg.cnf(
        lambda x, t: jnp.stack([-x[1], x[0]]),
        score=lambda x, t: KAPPA * jnp.stack([jnp.cos(t), jnp.sin(t)]),
        prior=VonMises(),
        interval=(0.0, 1.0),
        shape=(2,),
        space=dg.spaces.sphere(),
    )
    x = jnp.stack([jnp.cos(1.2), jnp.sin(1.2)])
    start = flow.prior.log_prob(x)
    out = dg.sample(flow, x, guidance=dg.budget(0.4), steps=256)
    np.testing.assert_allclose(out.unmet, 0.0, atol=1e-9)
    np.testing.assert_allclose(out.log_density, start + 0.4, atol=1e-5)
    angle = jnp.arctan2(out.x[1], out.x[0])
    np.testing.assert_allclose(jnp.cos(angle - 1.0), np.cos(1.2) + 0.4 / KAPPA, atol=1e-5)
