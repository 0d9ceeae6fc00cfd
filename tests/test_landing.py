"""Landing: the encoded log p is the one asked for, along every family, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import gaussian, latents, world

import densityguide as dg
from densityguide.steer.search import Point, search


@pytest.fixture(scope="module")
def flow():
    return world("mixture12", ends=(-6.0, 4.0))


FAMILIES = {
    "target": dg.target,
    "budget": dg.budget,
    "quantile": dg.quantile,
    "pinned": dg.pinned,
    "scale": dg.along.scale(),
    "direction": dg.along.direction(jnp.ones(12), -2.0, 2.0, scan=9),
    "high density": dg.along.high_density(),
    "guided": dg.along.guided(lambda bits: dg.budget(bits_per_dim=bits), slope=8.0),
}


QUICK = ("scale",)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES],
)
def test_every_family_lands(flow, name):
    x = latents(flow, 3, seed=2)

    def one(x):
        natural = dg.sample(flow, x, steps=48).log_density
        goal = natural + (4.0 if name == "high density" else 0.4)  # that one gives much
        return goal, dg.land(flow, x, goal, along=FAMILIES[name], steps=48)

    goal, out = jax.jit(jax.vmap(one))(x)
    found = (out.status & int(dg.Status.NO_ROOT)) == 0
    assert found.sum() >= (1 if name == "direction" else 2)  # a line may not reach it
    again = jax.vmap(lambda x: dg.log_density(flow, x, steps=48))(out.x)
    # Along families that move the latent log p comes with the decoding: the solver's error shows.
    allowed = 1e-6 if FAMILIES[name] in (dg.target, dg.budget, dg.quantile) else 2e-2
    assert np.all(np.abs(np.asarray(again.value - goal))[found] < allowed)
    assert np.all(np.abs(np.asarray(out.gap))[found] <= 1e-7)


@pytest.mark.slow
def test_a_network_whose_score_is_not_its_flows_lands_all_the_same():
    """Guidance by a score that is off by half: what is tracked misses, what landed does not."""
    flow = gaussian(3)
    wrong = dg.cnf(
        lambda p, x, t: flow.velocity(x, t),
        params=(),
        prior=flow.prior,
        interval=(-6.0, 6.0),
        shape=(3,),
        score=lambda p, x, t: 1.5 * flow.score(x, t) + 0.1,
    )
    x = latents(flow, 1)[0]
    goal = float(dg.sample(wrong, x, steps=64).log_density) + 0.5
    aimed = dg.sample(wrong, x, guidance=dg.target(goal), steps=64)
    landed = dg.land(wrong, x, goal, steps=64)
    assert abs(float(aimed.log_density) - goal) > 1e-2
    assert abs(float(dg.log_density(wrong, landed.x, steps=64).value) - goal) < 1e-6
    assert int(landed.status) & int(dg.Status.NO_ROOT) == 0


@pytest.mark.slow
def test_with_noise_the_key_fixes_the_path(flow):
    x, key = latents(flow, 1)[0], jax.random.key(1)
    noise = dg.noise.constant(0.3)
    goal = dg.sample(flow, x, steps=48).log_density - 0.5
    out = dg.land(flow, x, goal, noise=noise, key=key, steps=48)
    assert abs(float(out.gap)) <= 1e-7
    other = dg.land(flow, x, goal, noise=noise, key=jax.random.key(2), steps=48)
    assert float(jnp.abs(out.x - other.x).max()) > 1e-3


@pytest.mark.slow
def test_what_cannot_be_reached_is_said(flow):
    x = latents(flow, 1)[0]
    out = dg.land(flow, x, 100.0, steps=32, iterations=6)
    assert int(out.status) & int(dg.Status.NO_ROOT)
    assert np.isfinite(out.x).all()
    assert float(out.highest) < 100.0
    assert int(out.iterations) <= 6


@pytest.mark.slow
@pytest.mark.parametrize("goal", [50.0, jnp.inf, jnp.nan])
def test_a_scan_without_a_crossing_looks_once_more_and_moves_with_nothing(flow, goal):
    x = latents(flow, 1)[0]
    options = {"along": dg.along.scale(scan=5), "steps": 12}
    find = jax.jit(jax.value_and_grad(lambda goal: dg.land(flow, x, goal, **options).log_density))
    out = jax.jit(lambda goal: dg.land(flow, x, goal, **options))(goal)
    assert int(out.iterations) == 1
    assert int(out.status) & int(dg.Status.NO_ROOT)
    assert int(out.roots) == 0
    assert float(find(goal)[1]) == 0.0


@pytest.mark.slow
def test_a_failed_landing_has_neither_log_p_nor_a_bar(flow):
    x = latents(flow, 1)[0]
    out = jax.jit(lambda goal: dg.land(flow, x, goal, steps=12))(jnp.nan)
    assert np.isnan([out.log_density, out.total_error, out.standard_error]).all()


@pytest.mark.slow
def test_derivatives_are_those_of_the_implicit_function(flow):
    x = latents(flow, 1)[0]
    goal = float(dg.sample(flow, x, steps=12).log_density) + 0.3

    def found(goal, scale):
        wider = flow.replace(params=jax.tree.map(lambda a: a * scale, flow.params))
        return dg.land(wider, x, goal, steps=12).x

    step, run = 1e-4, jax.jit(found)
    forwards = jax.jit(jax.jacfwd(found, (0, 1)))(goal, 1.0)
    reverses = jax.jit(jax.jacrev(found, (0, 1)))(goal, 1.0)
    shifts = ((step, 0.0), (0.0, step))
    for forward, reverse, shift in zip(forwards, reverses, shifts, strict=True):
        up, down = (run(goal + s * shift[0], 1.0 + s * shift[1]) for s in (1, -1))
        np.testing.assert_allclose(forward, (up - down) / (2 * step), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(reverse, forward, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("trace", [dg.exact(), dg.hutchinson(2)])
def test_no_candidate_is_solved_twice(flow, trace):
    """Each iteration decodes and encodes once; fresh probes encode once more."""
    x, key = latents(flow, 1)[0], jax.random.key(0)
    goal = dg.sample(flow, x, steps=48).log_density + 0.4
    out = dg.land(flow, x, goal, divergence=trace, key=key, steps=48)
    aimed = {"guidance": dg.target(out.parameter), "steps": 48, "key": key}
    decoding = dg.sample(flow, x, measure=False, divergence=None, **aimed)
    encoding = dg.log_density(flow, out.x, divergence=trace, key=key, steps=48)
    each = int(decoding.evaluations + encoding.evaluations)
    more = 0 if trace.is_exact else int(encoding.evaluations)
    assert int(out.evaluations) == int(out.iterations) * each + more
    assert int(out.iterations) > 1


@pytest.mark.slow
def test_without_a_root_the_parameter_is_held(flow):
    """The sample does not follow a target that it does not reach."""
    x, far = latents(flow, 1, seed=3)[0], dg.along.scale(0.9, 1.1)

    def land(goal):
        return dg.land(flow, x, goal, along=far, steps=24)

    out, moved = jax.jvp(land, (jnp.asarray(500.0),), (jnp.ones(()),))
    assert int(out.status) & int(dg.Status.NO_ROOT)
    assert float(moved.parameter) == 0.0
    np.testing.assert_array_equal(moved.x, 0.0)
    assert jax.grad(lambda goal: land(goal).log_density)(500.0) == 0.0


@pytest.mark.slow
def test_the_high_density_family_is_high_density_sampling(flow):
    """Wholly on from below the range, wholly off above it; with the same switch nearly alike."""
    x, guide = latents(flow, 1, seed=2)[0], dg.along.high_density().guide
    how = {"measure": False, "steps": 48, "solver": dg.Adams(4)}
    plain = dg.sample(flow, x, **how)
    low, high = (dg.sample(flow, x, guidance=guide(jnp.asarray(at)), **how) for at in (-99.0, 99.0))
    np.testing.assert_allclose(high.x, plain.x, atol=1e-6)
    first = dg.high_density(flow, x, switch=-5.999, steps=(8, 96), measure=False)
    np.testing.assert_allclose(low.x, first.x, atol=2e-2)
    family = dg.along.high_density()
    assert float(family.chart(family.start(flow, jnp.zeros(())))) == -1.0  # halfway of -6 .. 4
    landed = dg.land(flow, x, plain.log_density + 4.0, along=family, steps=48)
    again = dg.high_density(flow, x, switch=landed.parameter, steps=96)
    assert abs(float(again.log_density - landed.log_density)) < 1.0  # of 4, by a softer switch


@pytest.mark.slow
def test_a_target_is_met_as_nearly_as_its_rounding_allows():
    """2e-4 bits/dim of two dimensions are less than the spacing of float32 at -10,000."""
    with jax.enable_x64(False):
        flow = dg.worlds.gaussian(np.zeros(2), np.eye(2))
        out = dg.land(flow, jnp.asarray([0.3, -0.2], jnp.float32), -1e4, steps=16)
    assert not int(out.status) & int(dg.Status.NO_ROOT)
    assert abs(float(out.gap)) < 0.02


@pytest.mark.slow
def test_targets_are_traced(flow):
    x, traces = latents(flow, 1)[0], []

    @jax.jit
    def run(goal):
        traces.append(1)
        return dg.land(flow, x, goal, steps=8, iterations=3).gap

    for goal in (-12.0, -13.0, -14.0):
        run(goal)
    assert len(traces) == 1


@pytest.mark.parametrize("root", [-3.0, 0.0, 0.7, 40.0])
@pytest.mark.parametrize("power", [1.0, 3.0])
def test_the_search_ends_in_a_bracket(root, power):
    """Steep and flat functions, from far away: never worse than the best place seen."""
    none = (jnp.zeros((), jnp.int32),) * 2

    def function(z):
        return jnp.sign(z - root) * jnp.abs(z - root) ** power, none, 2.0 * z

    ends = jnp.asarray(-100.0), jnp.asarray(100.0)
    args = (function, jnp.asarray(5.0), jnp.asarray(1.0), ends)
    found = search(*args, jnp.asarray(1e-9), 60)
    np.testing.assert_allclose([found.seen, found.first], [2.0 * found.z, 10.0])
    assert abs(float(found.z) - root) < 2e-3
    gaps = [abs(float(search(*args, jnp.asarray(1e-9), n).gap)) for n in (1, 3, 6, 12)]
    assert gaps == sorted(gaps, reverse=True)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_given_bracket_may_rise_or_fall(sign):
    """A scanned bracket is ordered by its gaps, whichever way the function goes."""
    none = (jnp.zeros((), jnp.int32),) * 2

    def function(z):
        return sign * (z - 0.8) ** 3, none, 2.0 * z

    places = (jnp.asarray(z) for z in (0.0, 1.0))
    left, right = ((Point(z, function(z)[0]), 2.0 * z) for z in places)
    bracket = (left, right) if sign > 0 else (right, left)
    ends = jnp.asarray(0.0), jnp.asarray(1.0)
    slope = jnp.asarray(sign * 0.52)
    found = search(function, jnp.asarray(0.98), slope, ends, jnp.asarray(1e-5), 12, bracket)
    np.testing.assert_allclose(found.seen, 2.0 * found.z)  # wherever the best was seen
    assert abs(float(found.gap)) <= 1e-5
    assert abs(float(found.z) - 0.8) < 0.03


@pytest.mark.slow
def test_a_root_at_a_scanned_place_is_one_root(flow):
    x = latents(flow, 1)[0]
    goal = dg.sample(flow, x, steps=32, solver=dg.Adams()).log_density
    out = dg.match_log_density(flow, x, goal, steps=32, solver=dg.Adams())
    assert int(out.roots) == 1
    assert int(out.status) & int(dg.Status.MANY_ROOTS) == 0
    assert float(out.parameter) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda flow, x: dg.land(flow, x, jnp.inf), "finite nats"),
        (lambda flow, x: dg.land(flow, x, -1.0, tolerance=0.0), "tolerance must be positive"),
        (lambda flow, x: dg.land(flow, x, -1.0, along="target"), "along must be"),
        (lambda flow, x: dg.land(flow, x, -1.0, along=dg.calibrated), "needs a calibration"),
        (lambda flow, x: dg.land(flow, x, -1.0, iterations=0), "iterations must be"),
        (lambda flow, x: dg.along.scale(0.0, 1.0), "low > 0"),
        (lambda flow, x: dg.along.direction(x, 1.0, -1.0), "must rise"),
        (lambda flow, x: dg.along.guided(3.0), "needs a function"),
        (lambda flow, x: dg.land(flow, x, -1.0, along=dg.along.direction(x[:3])), "direction"),
    ],
)
def test_bad_input(flow, call, words):
    with pytest.raises(ValueError, match=words):
        call(flow, jnp.ones(12))
