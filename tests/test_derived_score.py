"""The score that is derived from a flow's own log p, against closed forms."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import gaussian, latents, world

import densityguide as dg

ENDS = (-6.0, 4.0)


@pytest.fixture(autouse=True)
def _x64():
    with jax.enable_x64(True):
        yield


def states(flow, t, count=3):
    """States of the flow at log-SNR t."""
    part = flow.replace(interval=(ENDS[0], t)) if t > ENDS[0] else None
    x = latents(flow, count)
    if part is None:
        return x
    decoded = jax.vmap(lambda x: dg.sample(part, x, divergence=None, steps=48).x)(x)
    return decoded * flow.path.alpha(t)


def off(own, flow, t):
    """Relative error of the derived score."""
    x = states(flow, t)
    found, true = (jax.vmap(lambda x, f=f: f.score(x, t))(x) for f in (own, flow))
    return float(jnp.abs(found - true).max() / jnp.abs(true).max())


@pytest.mark.slow
@pytest.mark.parametrize("path", ["vp", "linear"])
def test_it_converges_to_the_closed_form(path):
    flow = gaussian(3, path, ENDS)
    errors = [off(dg.derive_score(flow, steps=steps), flow, 4.0) for steps in (12, 24)]
    assert errors[1] < 2e-3
    assert errors[0] > 6.0 * errors[1]  # order 3 or so


@pytest.mark.slow
@pytest.mark.parametrize("t", [-6.0, -5.999, -5.995, -5.99, -5.9, -2.0, 1.0, 4.0])
def test_it_holds_along_the_whole_clock(t):
    """At the prior's end no step is left to solve, and its own score takes over smoothly."""
    flow = world("mixture12", ends=ENDS)
    assert off(dg.derive_score(flow, steps=48), flow, t) < 3e-4


@pytest.mark.slow
def test_guidance_lands_where_encoding_finds_it():
    """The learned score is wrong by half; the derived one makes tracked and encoded agree."""
    flow = gaussian(3, ends=ENDS)
    wrong = dg.cnf(
        lambda p, x, t: flow.velocity(x, t),
        prior=flow.prior,
        interval=ENDS,
        shape=(3,),
        params=(),
        score=lambda p, x, t: 1.5 * flow.score(x, t) + 0.1,
    )
    own, x = dg.derive_score(wrong), latents(flow, 1)[0]
    goal = float(dg.log_density(wrong, dg.sample(wrong, x).x).value) + 0.5
    before, after = (dg.sample(f, x, guidance=dg.target(goal), steps=64) for f in (wrong, own))
    assert abs(float(before.log_density) - goal) > 1e-2
    assert abs(float(after.log_density) - goal) < 2e-3
    assert abs(float(after.tracked - after.log_density)) < 1e-3


def test_a_flow_without_a_score_gets_one():
    """Under dx/dt = x^3 a point came from x / r, r^2 = 1 + 2 t x^2, and volumes from r^-3 of them:
    unlike under a linear velocity, div u depends on x, so its sign and size count."""
    plain = dg.cnf(lambda x, t: x**3, prior=dg.priors.normal((2,)), interval=(0.0, 1.0), shape=(2,))
    x = jnp.asarray([0.3, -0.8])

    def log_p(x, t):
        square = 1.0 + 2.0 * t * x**2
        return jnp.sum(-0.5 * x**2 / square - 1.5 * jnp.log(square))

    assert not plain.has_score
    own = dg.derive_score(plain, steps=64)
    assert "derived score" in repr(own)
    found = jax.jit(lambda flow, t: flow.score(x, t))
    for t in (0.0, 0.0005, 0.25, 1.0):
        np.testing.assert_allclose(found(own, t), jax.grad(log_p)(x, t), rtol=1e-5)


@pytest.mark.slow
def test_weights_are_traced_and_replaced():
    def velocity(params, x, t):
        return params * x

    plain = dg.cnf(
        velocity, prior=dg.priors.normal((2,)), interval=(0.0, 1.0), shape=(2,), params=1.0
    )
    own, x, traces = dg.derive_score(plain, steps=64), jnp.ones(2), []

    @jax.jit
    def at_the_end(flow):
        traces.append(1)
        return flow.score(x, 1.0)

    for rate in (1.0, 0.5, 0.0):
        other = own.replace(params=jnp.asarray(rate))
        np.testing.assert_allclose(at_the_end(other), -np.exp(-2 * rate) * x, rtol=1e-5)
    assert len(traces) == 1
    assert own.replace(interval=(0.0, 0.5)).params is own.params  # the data's end may move
    slope = jax.grad(lambda rate: own.replace(params=rate).score(x, 1.0).sum())(0.5)
    np.testing.assert_allclose(slope, 4.0 * np.exp(-1.0), rtol=1e-3)


@pytest.mark.slow
def test_an_sde_in_general_form_takes_it():
    """`track_sde` joins nothing: dx = (u + s) dt + sqrt(2) dW keeps the marginals."""
    plain = dg.cnf(lambda x, t: x, prior=dg.priors.normal((1,)), interval=(0.0, 1.0), shape=(1,))
    own = dg.derive_score(plain, steps=8)

    def one(key):
        return dg.track_sde(
            own,
            dg.latent(own, key),
            jax.random.fold_in(key, 1),
            drift=lambda p, x, t: own.velocity(x, t) + own.score(x, t),
            diffusion=lambda p, x, t, w: jnp.sqrt(2.0) * w,
            steps=64,
            solver=diffrax.Euler(),
            measure=False,
        ).x

    x = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 2000)))[:, 0]
    assert abs(np.var(x) / np.exp(2.0) - 1.0) < 4 * (2 / 2000) ** 0.5
