"""Where the dial turns the right way, on flows whose score is true, turned round, or too long."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import world

import densityguide as dg
from densityguide.steer.monotone import _read

KEY = jax.random.key(0)
SHORT = {"count": 6, "steps": 24}


def with_score(factor):
    """The mixture's flow, its score multiplied by ``factor(score)``."""
    flow = world("mixture12", "vp", (-6.0, 3.0))

    def score(params, x, t):
        true = flow.field(params, x, t)[1]
        return factor(true) * true

    return dg.cnf(
        lambda params, x, t: flow.field(params, x, t)[0],
        score=score,
        params=flow.params,
        prior=flow.prior,
        interval=(-6.0, 3.0),
        shape=(12,),
    )


def test_a_true_score_turns_the_dial_all_the_way():
    flow = world("mixture12", "vp", (-6.0, 3.0))
    values = (0.3, 0.4, 0.5, 0.6)
    out = dg.monotone_range(flow, KEY, values=values, **SHORT)
    assert (out.low, out.high) == (0.3, 0.6)
    assert (out.rise > 0).all()
    assert (np.diff(out.log_density) > 0).all()
    np.testing.assert_allclose(np.diff(out.log_density), out.rise, rtol=1e-9)


def test_a_score_that_points_down_has_no_range():
    out = dg.monotone_range(
        with_score(lambda s: -1.0), KEY, along=dg.budget, values=(-2.0, 0.0, 2.0), **SHORT
    )
    assert (out.rise < 0).all()
    assert np.isnan([out.low, out.high]).all()


def test_the_longest_run_of_certain_rises():
    values = np.arange(6.0)
    steps = np.asarray([[1.0, 1.1], [2.0, 2.1], [-5.0, 5.0], [1.0, 1.2], [-1.0, -1.1]])
    log_density = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    out = _read(values, log_density)
    assert (out.low, out.high) == (0.0, 2.0)
    log_density[1, 0] = np.nan  # one sample failed there: a single pair says nothing
    out = _read(values, log_density)
    assert (out.low, out.high) == (3.0, 4.0)
    np.testing.assert_array_equal(out.failed, [0, 1, 0, 0, 0, 0])


@pytest.mark.slow
def test_outside_its_range_a_quantile_is_said_to_be():
    flow = dg.worlds.gaussian(np.zeros(3), np.eye(3) * 0.3, log_snr=(-4.0, 3.0))
    times, x = jnp.linspace(-4.0, 3.0, 4), jnp.ones(3)
    dial = jnp.asarray([0.2, 0.7])
    flow = flow.replace(calibration=dg.Calibration(times, times, jnp.ones(4), dial))

    def status(q):
        return dg.sample(flow, x, guidance=dg.quantile(q), divergence=None, steps=2).status

    found = jax.jit(jax.vmap(status))(jnp.asarray([0.1, 0.2, 0.5, 0.7, 0.71]))
    said = (np.asarray(found) & dg.Status.BEYOND) != 0
    np.testing.assert_array_equal(said, [True, False, False, False, True])
    with pytest.warns(UserWarning, match=r"outside 0.2 .. 0.7"):
        status(0.9)
    with pytest.warns(UserWarning, match=r"outside 0.2 .. 0.7"):
        edited = dg.edit(flow, x, guidance=dg.quantile(0.9), divergence=None, steps=2)
    assert int(edited.status) & dg.Status.BEYOND
    line = dg.knots([-4.0, 3.0], [0.5, 0.9])
    with pytest.warns(UserWarning, match=r"outside 0.2 .. 0.7"):
        status(line)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"values": (0.5, 0.4)}, "rising"),
        ({"values": (0.5,)}, "rising"),
        ({"count": 1}, "at least 4"),
    ],
)
def test_misuse_ends_in_one_line(options, words):
    with pytest.raises(ValueError, match=words):
        dg.monotone_range(world("mixture12", "vp", (-6.0, 3.0)), KEY, **options)
