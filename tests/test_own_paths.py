"""Other paths, and one of one's own, do all that the three usual ones do: against worlds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg

KEY = jax.random.key(4)


def own_alpha(level):
    """alpha = r^2 / (1 + r^2)^(3/4): of no family."""
    return level - 0.75 * jnp.logaddexp(0.0, level)


def own_sigma(level):
    return own_alpha(level) - 0.5 * level


PATHS = {
    "sub_vp": dg.paths.sub_variance_preserving(),
    "conditional_ot": dg.paths.conditional_ot(0.02),
    "custom": dg.paths.custom(own_alpha, own_sigma),
}
CLOCKS = {
    "sub_vp": dg.clocks.sde_time(PATHS["sub_vp"]),
    "conditional_ot": dg.clocks.conditional_ot_time(0.02),
    "custom": dg.clocks.edm_noise,
}
KINDS = ("noise", "data", "score", "velocity")
ENDS = (-9.0, 6.0)


def world(name):
    flow = dg.worlds.mixture(
        [0.3, 0.7],
        [[1.0, -0.5, 0.2], [-0.6, 0.4, 0.1]],
        [0.5, 0.3, 0.8],
        path=PATHS[name],
        log_snr=ENDS,
    )
    return dg.worlds.exact_prior(flow)


@jax.jit
def both(flow, x, level):
    return flow.score(x, level), flow.velocity(x, level)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PATHS)
def test_any_prediction_in_any_clock_is_the_world(name, kind):
    """A network that is exact in its own clock; a velocity in either direction."""
    truth, base = world(name), CLOCKS[name]
    for sign in (1.0, -1.0) if kind == "velocity" else (1.0,):
        clock = dg.clocks.scaled(base, 1000.0 * sign)

        def network(params, x, time, clock=clock):
            # The log-SNR of a time, by Newton's method on the clock.
            def better(_, level):
                moved = level - (clock(level) - time) / jax.grad(clock)(level)
                return jnp.clip(moved, -12.0, 7.5)

            level = jax.lax.fori_loop(0, 60, better, jnp.asarray(-1.0))
            score = truth.field(params, x, level)[1]
            options = {"path": truth.path, "prediction": kind, "clock": clock}
            return dg.predictions.score_to(score, x, level, **options)

        flow = dg.diffusion(
            network,
            params=truth.params,
            path=truth.path,
            prediction=kind,
            clock=clock,
            log_snr=ENDS,
            shape=(3,),
        )
        x = jnp.asarray([0.3, -0.8, 0.5])
        for level in (-5.0, 0.0, 4.0):
            ours, theirs = both(flow, x, level), both(truth, x, level)
            np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
            np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_log_p_and_guidance_have_the_closed_form(name):
    flow = world(name)
    out = dg.sample(flow, dg.latent(flow, KEY), guidance=dg.target(-3.0), steps=96)
    alpha = flow.end_scale()
    truth = flow.log_density(alpha * out.x, ENDS[1]) + 3 * jnp.log(alpha)
    np.testing.assert_allclose(out.log_density, truth, atol=2e-4)
    np.testing.assert_allclose(truth, -3.0, atol=2e-3)
    # The continuity equation ties velocity and score together.
    x, t = out.x, jnp.asarray(1.3)
    change = jax.grad(lambda t: flow.log_density(x, t))(t)
    transport = flow.velocity(x, t) @ flow.score(x, t)
    np.testing.assert_allclose(change + transport + dg.worlds.divergence(flow, x, t), 0, atol=1e-9)


def test_sub_vp_is_the_papers():
    """alpha = exp(-B / 2), sigma = 1 - exp(-B), B = integral of beta; and its clock's time."""
    t = np.linspace(1e-3, 1.0, 40)
    total = 0.1 * t + 0.5 * 19.9 * t**2
    alpha, sigma = np.exp(-0.5 * total), -np.expm1(-total)
    path = PATHS["sub_vp"]
    level = jnp.asarray(2 * np.log(alpha / sigma))
    np.testing.assert_allclose(path.alpha(level), alpha, rtol=1e-10)
    np.testing.assert_allclose(path.sigma(level), sigma, rtol=1e-10)
    np.testing.assert_allclose(path.drift(level), sigma / (2 + 2 * alpha**2), rtol=1e-9)
    np.testing.assert_allclose(dg.clocks.sde_time(path)(level), t, rtol=1e-9)
    low = path.alpha(jnp.asarray([-20.0, 20.0], jnp.float32))
    np.testing.assert_allclose(low, path.alpha(np.asarray([-20.0, 20.0])), rtol=1e-5)
    vp = dg.paths.variance_preserving()
    level = -np.log(np.expm1(total))
    np.testing.assert_allclose(dg.clocks.sde_time(vp)(jnp.asarray(level)), t, rtol=1e-9)


def test_a_learned_variance_is_left_out():
    """Twice the channels, in either layout: the first half predicts."""
    vp = dg.paths.variance_preserving()
    options = {"path": vp, "prediction": "noise", "shape": (4, 4, 3)}

    def last(x, t):
        return jnp.concatenate([vp.sigma(t) * x, jnp.full_like(x, jnp.nan)], axis=-1)

    def first(x, t):
        return jnp.concatenate([vp.sigma(t[0]) * x, 1e9 * x], axis=1)

    plain = dg.diffusion(lambda x, t: vp.sigma(t) * x, **options)
    ours = dg.diffusion(last, learned_variance=True, **options)
    theirs = dg.diffusion(
        first, learned_variance=True, batched=True, channels_first=True, **options
    )
    x = jax.random.normal(KEY, (4, 4, 3))
    for flow in (plain, ours, theirs):
        np.testing.assert_allclose(flow.score(x, 0.7), -x, rtol=1e-12)
