"""The closing correction lands on the request under the flow's own density."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import latents, world

import densityguide as dg
from densityguide.polish import polish


def crooked():
    """A flow whose score is not the gradient of its own log p: what a network is like."""
    flow = world("mixture12", exact=False)

    def apply(params, x, log_snr):
        eps = -flow.path.sigma(log_snr) * flow.score(x, log_snr)
        return eps + params * jnp.tanh(x @ jnp.eye(12)[::-1]) * flow.path.sigma(log_snr)

    return dg.diffusion(
        apply,
        params=jnp.asarray(0.05),
        path=flow.path,
        prediction="noise",
        log_snr=(-10.0, 8.0),
        shape=(12,),
    )


@pytest.fixture(scope="module")
def outcomes():
    flow = crooked()
    x = latents(flow, 8)

    def run(polish):
        one = lambda x: dg.sample(flow, x, guidance=dg.target(-13.0), steps=129, polish=polish)  # noqa: E731
        return jax.jit(jax.vmap(one))(x)

    return flow, run(0), run(3)


def encode(flow, x):
    return dg.log_density(flow, x, steps=48).value


def encoded(flow, x):
    return jax.vmap(lambda x: dg.log_density(flow, x, steps=240))(x).value


def test_consistency_is_reencoded_minus_tracked(outcomes):
    flow, measured, _ = outcomes
    tracked = measured.log_density - measured.consistency
    assert np.allclose(tracked, -13.0, atol=0.02)
    assert np.allclose(measured.log_density, encoded(flow, measured.x), atol=5e-3)
    assert np.all(measured.moved == 0)
    # This score is off enough to matter, or the test below would show nothing.
    assert np.max(np.abs(measured.consistency)) > 0.05


def test_polished_samples_land(outcomes):
    flow, before, after = outcomes
    assert np.allclose(after.log_density, -13.0, atol=1e-4)
    assert np.allclose(encoded(flow, after.x), -13.0, atol=5e-3)
    moved = np.sqrt(np.mean((after.x - before.x) ** 2, axis=1))
    assert np.allclose(after.moved, moved, rtol=1e-6)
    assert np.all(moved < 0.1)


@pytest.mark.parametrize("request_nats", [40.0, -400.0])
def test_no_sample_is_further_from_its_request_than_before(request_nats):
    # The first lies above every mode; towards the second log p is far from linear.
    flow = crooked()
    one = lambda x: polish(flow, x, request_nats, iterations=4, steps=48)  # noqa: E731
    out = jax.jit(jax.vmap(one))(latents(flow, 16))
    before, after = (np.abs(value - request_nats) for value in (out.before, out.log_density))
    assert np.all(after <= before)
    assert np.mean(after < before) > 0.9
    assert np.allclose(out.log_density, jax.vmap(partial(encode, flow))(out.x), atol=1e-6)


def test_the_result_is_that_of_its_own_encoding_and_all_solves_are_counted():
    flow, key = crooked(), jax.random.key(3)
    x, options = latents(flow, 1)[0], {"divergence": dg.hutchinson(4), "key": key, "steps": 24}
    out = polish(flow, x, -13.0, iterations=2, **options)
    again = dg.log_density(flow, out.x, **options)
    for name in ("standard_error", "degrees_of_freedom", "status"):
        assert float(getattr(out, name)) == pytest.approx(float(getattr(again, name)), rel=1e-6)
    assert int(out.evaluations) == 3 * int(again.evaluations) + 1  # and the score
    assert int(out.tangents) == 3 * int(again.tangents)
    still = polish(flow, x, -13.0, iterations=0, **options)
    assert (still.moved, int(still.evaluations)) == (0.0, int(again.evaluations))


def test_bad_input():
    flow = world("mixture12")
    with pytest.raises(ValueError, match="polish must be"):
        dg.sample(flow, jnp.ones(12), polish=-1)
    with pytest.raises(ValueError, match="needs a trace"):
        dg.sample(flow, jnp.ones(12), divergence=None, polish=1)
