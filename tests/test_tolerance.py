"""`tolerance=`: the fewest steps of the ladder whose error bar fits, and the truth within it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_form, decode, latents, world

import densityguide as dg
from densityguide import solve
from densityguide.verify.measures import measures
from densityguide.verify.steps_for import errors_at


@pytest.fixture(scope="module")
def given():
    flow = world("mixture12", "vp", (-6.0, 4.0))
    return flow, decode(flow, latents(flow, 1), steps=96).x[0]


def just_below(verb):
    """(the bar at 16 steps, the result for a tolerance a little less)."""
    bar = float(verb(steps=16).total_error)
    return bar, verb(tolerance=0.9 * bar)


def test_log_p_is_as_certain_as_was_asked(given):
    flow, x = given
    bar, out = just_below(lambda **how: dg.log_density(flow, x, **how))
    assert float(out.total_error) <= 0.9 * bar
    assert abs(float(out.value - closed_form(flow, x[None])[0])) <= 0.9 * bar
    assert not int(out.status) & dg.Status.INACCURATE
    assert int(out.evaluations) == 33  # the rung above, and no further


def test_a_sample_to_a_tolerance_is_that_of_so_many_steps(given):
    flow, start = given[0], latents(given[0], 1)[0]
    bar, out = just_below(lambda **how: dg.sample(flow, start, guidance=dg.quantile(0.6), **how))
    assert float(out.total_error) <= 0.9 * bar
    same = dg.sample(flow, start, guidance=dg.quantile(0.6), steps=32)
    np.testing.assert_array_equal(out.x, same.x)
    assert abs(float(out.log_density - closed_form(flow, out.x[None])[0])) <= 0.9 * bar


def test_a_bar_that_means_little_fits_no_tolerance(given):
    flow, x = given
    assert int(dg.log_density(flow, x, steps=8).status) & int(dg.Status.COARSE)
    out = dg.log_density(flow, x, tolerance=1e4)
    assert not int(out.status) & int(dg.Status.COARSE)
    assert not np.isfinite(
        errors_at(8, flow, jax.random.split(jax.random.key(0), 4), dg.exact())[0]
    ).all()


class Found(NamedTuple):
    steps: int
    error: float
    status: int = 0


@pytest.mark.parametrize(("tolerance", "steps", "met"), [(1e-2, 16, True), (1e-9, 1024, False)])
def test_the_ladder_is_climbed_until_the_bar_fits_or_it_ends(tolerance, steps, met):
    out = solve.within(
        tolerance,
        solve.Choices(),
        (),
        lambda choices: Found(choices.steps, 1.0 / choices.steps**2),
        lambda found: found.error,
    )
    assert out.steps == steps
    assert bool(int(out.status) & dg.Status.INACCURATE) != met


@pytest.mark.slow
def test_steps_for_is_found_once_and_used_under_jit(given):
    flow, _ = given
    steps = dg.steps_for(flow, jax.random.key(0), 0.05, count=4)
    assert steps == dg.steps_for(flow, jax.random.key(0), 0.05, count=4)
    x = decode(flow, latents(flow, 8), steps=steps).x
    out = jax.jit(jax.vmap(lambda x: dg.log_density(flow, x, steps=steps)))(x)
    assert np.median(out.total_error) <= 0.05
    assert np.mean(np.abs(out.value - closed_form(flow, x)) <= 0.05) > 0.7


def test_steps_for_warns_where_the_ladder_ends(given):
    with pytest.warns(UserWarning, match="less certain than 1e-12 nats"):
        dg.steps_for(given[0], jax.random.key(0), 1e-12, count=1, last=8)


def test_bits_per_dim_in_nats(given):
    flow, _ = given
    np.testing.assert_allclose(dg.nats(flow, 0.5), 0.5 * 12 * np.log(2.0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f, x: jax.jit(lambda x: dg.log_density(f, x, tolerance=0.1))(x), "steps_for"),
        (lambda f, x: jax.vmap(lambda x: dg.sample(f, x, tolerance=0.1))(x[None]), "steps_for"),
        (lambda f, x: dg.log_density(f, x, tolerance=0.1, steps=8), "drop steps="),
        (lambda f, x: dg.log_density(f, x, tolerance=0.0), "must be positive"),
        (lambda f, x: dg.log_density(f, x, tolerance=float("nan")), "must be positive"),
        (lambda f, x: dg.sample(f, x, tolerance=0.1, divergence=None), "measured log p"),
        (
            lambda f, x: dg.sample(
                f, x, tolerance=0.1, noise=dg.noise.constant(0.3), key=jax.random.key(0)
            ),
            "without noise",
        ),
        (lambda f, x: dg.steps_for(f, jax.random.key(0), -1.0), "must be positive"),
        (lambda f, x: dg.steps_for(f, x, 1.0), "random"),
        (
            lambda f, x: jax.jit(lambda t: dg.steps_for(f, jax.random.key(0), t))(jnp.ones(())),
            "outside jit",
        ),
    ],
)
def test_misuse_ends_in_one_line(given, call, words):
    with pytest.raises(ValueError, match=words):
        call(*given)


@pytest.mark.slow
def test_the_steps_are_enough_for_every_sample_and_no_more(worlds):
    """Between the smallest and the largest bar at 16 steps: some samples have it, and 16 will not
    do."""
    flow, key = worlds("mixture12", "vp", (-6.0, 4.0)), jax.random.key(5)
    total, _ = errors_at(16, flow, jax.random.split(key, 8), dg.exact())
    assert total.min() < 0.5 * total.max()
    assert dg.steps_for(flow, key, 0.5 * (total.min() + total.max())) == 32
    assert dg.steps_for(flow, key, 1.01 * total.max()) <= 16


@pytest.mark.slow
def test_probes_count_and_the_solvers_share_is_apart(worlds):
    """Two probes leave what no number of steps takes away."""
    flow, key = worlds("mixture12", "vp", (-6.0, 4.0)), jax.random.key(6)
    total, solver = errors_at(64, flow, jax.random.split(key, 8), dg.hutchinson(2))
    assert (solver < 0.1 * total).all()
    tolerance = float(2.0 * solver.max())
    with pytest.warns(UserWarning, match="less certain"):
        dg.steps_for(flow, key, tolerance, divergence=dg.hutchinson(2), last=64)


@pytest.mark.slow
def test_what_a_card_holds_is_the_solvers_share(worlds):
    flow = worlds("mixture12", "vp", (-6.0, 4.0))
    options = {"count": 8, "latents": 4, "values": (0.3, 0.5, 0.7)}
    found = measures(flow, jax.random.key(7), divergence=dg.hutchinson(2), **options)
    keys = jax.random.split(jax.random.key(8), 8)
    total, _ = errors_at(64, flow, keys, dg.hutchinson(2))
    assert found.solver_error[found.steps.index(64)] < 0.2 * float(total.min())
    assert (np.diff(found.solver_error) < 0).all()
