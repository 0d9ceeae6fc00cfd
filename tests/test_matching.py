"""Scaling the latent until log p is exact; reports what cannot be reached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import gaussian, latents, world

import densityguide as dg
from densityguide import Status


@pytest.fixture(scope="module")
def matched():
    flow = world("mixture12")
    x = latents(flow, 4)
    goals = jnp.asarray([-12.0, -14.0, -10.5, 40.0])
    run = jax.jit(jax.vmap(lambda x, goal: dg.match_log_density(flow, x, goal, steps=96)))
    return flow, x, goals, run(x, goals)


def test_reached_targets_hold_to_a_millionth_of_a_nat(matched):
    flow, x, goals, out = matched
    found = (out.status & int(Status.NO_ROOT)) == 0
    assert np.array_equal(found, [True, True, True, False])
    again = jax.vmap(lambda z: dg.sample(flow, z, steps=96))(out.parameter[:, None] * x)
    assert np.all(np.abs(again.log_density - goals)[:3] < 1e-6)
    assert np.allclose(again.x, out.x, atol=1e-9)


def test_the_result_holds_under_an_independent_encoding(matched):
    flow, _, goals, out = matched
    back = jax.vmap(lambda x: dg.log_density(flow, x, steps=200))(out.x[:3])
    assert np.all(np.abs(back.value - goals[:3]) < 2e-3)  # the 96-step solve's own error


def test_an_unreachable_target_says_what_is_reachable(matched):
    _, _, goals, out = matched
    assert out.highest[3] < goals[3]
    assert out.roots[3] == 0
    assert np.all(np.isfinite(out.x))
    assert out.lowest[3] <= out.log_density[3] <= out.highest[3] + 1e-9


@pytest.mark.slow
def test_every_root_is_counted_and_the_nearest_taken():
    # With mean zero, log p_0 along the ray falls in a^2; with the mean far out it rises first:
    # two scales then give the same log p.
    flow = dg.worlds.exact_prior(
        dg.worlds.gaussian([1.5, 0.0], 0.25 * np.eye(2), log_snr=(-4.0, 6.0))
    )
    x = jnp.asarray([1.0, 0.2])
    curve = jax.vmap(lambda a: dg.sample(flow, a * x, steps=32).log_density)(
        jnp.linspace(0.1, 4.0, 40)
    )
    peak = int(jnp.argmax(curve))
    assert 0 < peak < 39
    goal = float(max(curve[0], curve[-1]) + 0.3 * (curve[peak] - max(curve[0], curve[-1])))
    out = dg.match_log_density(flow, x, goal, scales=(0.1, 4.0), steps=32)
    assert int(out.roots) == 2
    assert int(out.status) & int(Status.MANY_ROOTS)
    assert abs(float(out.log_density) - goal) < 1e-6
    scales = np.linspace(0.1, 4.0, 40)
    places = np.flatnonzero(np.diff(np.sign(np.asarray(curve) - goal)))
    nearest = places[np.argmin(np.abs(np.log(scales[places + 1])))]  # to scale 1
    assert scales[nearest] <= float(out.parameter) <= scales[nearest + 1]


@pytest.mark.slow
def test_devices_match_as_one_program_does(matched):
    flow, x, goals, out = matched
    run = dg.parallel.pmap(lambda *one: dg.match_log_density(*one, steps=96), block=4)
    many = run(flow, np.asarray(x), np.asarray(goals))
    np.testing.assert_allclose(many.log_density, out.log_density, atol=1e-7)
    np.testing.assert_allclose(many.x, out.x, atol=1e-7)


@pytest.mark.slow
def test_the_scale_has_the_derivative_of_an_inverse_function(matched):
    flow, x, goals, out = matched
    found = lambda goal: dg.match_log_density(flow, x[0], goal, steps=96).parameter  # noqa: E731
    slope = jax.grad(found)(goals[0])
    latent = out.parameter[0] * x[0]
    along = dg.score_alignment(flow, latent, direction=x[0], use_score=False, steps=96).value
    assert slope * along == pytest.approx(1.0, rel=1e-2)  # the 96-step solve's own error


@pytest.mark.slow
def test_no_score_is_needed_and_an_adaptive_solve_serves():
    world_flow = gaussian(3)
    plain = dg.cnf(
        lambda p, x, t: world_flow.field(p, x, t)[0],
        params=world_flow.params,
        prior=world_flow.prior,
        interval=(-6.0, 6.0),
        shape=(3,),
    )
    x = latents(world_flow, 1)[0]
    # A CNF reports the state itself; the world divides by alpha.
    natural = float(dg.sample(plain, x, steps=32).log_density)
    out = dg.match_log_density(plain, x, natural - 0.7, rtol=1e-8)
    assert abs(float(out.log_density) - (natural - 0.7)) < 1e-6
    assert out.parameter != 1.0


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        (np.nan, {}, "finite"),
        (0.0, {"scales": (2.0, 1.0)}, "must rise"),
        (0.0, {"scales": (-1.0, 1.0)}, "low > 0"),
        (0.0, {"scan": 2}, "scan"),
    ],
)
def test_bad_input(target, options, words):
    flow = gaussian(3)
    with pytest.raises(ValueError, match=words):
        dg.match_log_density(flow, jnp.ones(3), target, **options)
