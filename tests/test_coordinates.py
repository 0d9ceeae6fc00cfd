"""One accuracy on every path: the same steps give the same sample whatever scales x."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS, closed_form, decode, latents, world

import densityguide as dg
from densityguide.solve.coordinates import Coordinates

STEPS = 24


@pytest.fixture(scope="module")
def on_all_paths():
    # Equivalent latents: equal in variance-preserving coordinates.
    base = latents(world("mixture12", "vp"), 6)
    outs = {}
    for name, path in PATHS.items():
        flow = world("mixture12", name)
        scale = jnp.hypot(path.alpha(-10.0), path.sigma(-10.0))
        outs[name] = flow, decode(flow, scale * base, steps=STEPS)
    return outs


@pytest.mark.parametrize("name", ["ve", "linear"])
def test_plain_samples_agree_to_rounding(on_all_paths, name):
    assert np.allclose(on_all_paths[name][1].x, on_all_paths["vp"][1].x, atol=1e-10)


def test_log_densities_are_equally_good(on_all_paths):
    errors = {
        name: np.sqrt(np.mean((out.log_density - closed_form(flow, out.x)) ** 2))
        for name, (flow, out) in on_all_paths.items()
    }
    assert max(errors.values()) < 4 * errors["vp"] + 1e-3


@pytest.mark.slow
def test_a_target_is_spent_alike_on_every_path():
    """Also where alpha falls and where it is 1 throughout: the same samples of the same latents."""
    base, found = latents(world("mixture12", "vp"), 4), {}
    for name in ("vp", "ve"):
        scale = jnp.hypot(PATHS[name].alpha(-10.0), PATHS[name].sigma(-10.0))
        goals = jnp.full(4, -14.0)
        found[name] = decode(world("mixture12", name), scale * base, goals, dg.target, steps=144)
    np.testing.assert_allclose(found["ve"].x, found["vp"].x, atol=5e-3)


@pytest.mark.parametrize("name", PATHS)
def test_entering_and_leaving_are_inverse_and_rates_transform(name):
    coordinates = Coordinates(PATHS[name], ("state", "nats"))
    x, t = jnp.arange(3.0), jnp.asarray(-1.3)
    there = coordinates.enter((x, jnp.asarray(2.0)), t)
    back = coordinates.leave(there, t)
    assert np.allclose(back[0], x, atol=1e-14)
    assert back[1] == 2.0
    # Along x(t) = x exp(t) the rate of y = x / c is the derivative of x(t) / c(t).
    curve = lambda t: coordinates.enter((x * jnp.exp(t), t), t)[0]  # noqa: E731
    expected = jax.jacfwd(curve)(t)
    state = coordinates.enter((x * jnp.exp(t), t), t)
    if not coordinates.trivial:
        got = coordinates.change((x * jnp.exp(t), t), state, t, 1.0)[0]
        assert np.allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("solver", [diffrax.Bosh3(), dg.Adams(2), dg.Adams(4)])
def test_a_failed_sample_keeps_the_scale_of_where_it_stopped(solver):
    flow = dg.diffusion(
        lambda x, t: jnp.where(t > 0, jnp.nan, 1.0) * x,
        path=PATHS["ve"],
        prediction="score",
        log_snr=(-4.0, 4.0),
        shape=(2,),
    )
    quiet = dataclasses.replace(flow, field=_Still())
    out = dg.sample(quiet, jnp.ones(2), steps=32, solver=solver)
    assert int(out.status) == int(dg.Status.NON_FINITE)
    assert np.allclose(out.x, 1.0, atol=1e-2)


class _Still:
    """Zero velocity up to t = 0, then not a number."""

    def __call__(self, params, x, t):
        still = jnp.where(t > 0, jnp.nan, 0.0) * x
        return still, still

    def __hash__(self):
        return 1

    def __eq__(self, other):
        return isinstance(other, _Still)
