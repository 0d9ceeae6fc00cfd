"""Parts that belong together: what is derived is derived again, refused, or dropped with a line."""

import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS, TIGHT, gaussian, world
from scipy import stats

import densityguide as dg

STD = 0.5
KARRAS = (-2.0 * np.log(80.0), -2.0 * np.log(0.002))


def denoiser(params, x, c_noise):
    """The best one for N(0, STD^2 I) data."""
    sigma = jnp.exp(4.0 * c_noise)
    return params * x / (1.0 + (sigma / STD) ** 2)


def edm(shape=(3,), log_snr=KARRAS):
    return dg.diffusion(
        denoiser,
        params=jnp.ones(()),
        path=PATHS["ve"],
        prediction="data",
        clock=dg.clocks.edm_noise,
        log_snr=log_snr,
        shape=shape,
    )


def same_prior(one, other):
    x = jnp.linspace(-1.0, 2.0, one.size).reshape(one.shape)
    key = jax.random.key(3)
    np.testing.assert_allclose(one.prior.log_prob(x), other.prior.log_prob(x), rtol=1e-12)
    np.testing.assert_allclose(one.prior.sample(key), other.prior.sample(key), rtol=1e-12)


def calibrated(flow, ends=None):
    times = jnp.linspace(*(flow.interval if ends is None else ends), 5)
    return flow.replace(calibration=dg.Calibration(times, -times, jnp.ones(5)))


def test_another_range_starts_from_its_own_noise():
    """A Gaussian built at sigma 80 and cut to 5: its samples and log p are the Gaussian's."""
    cut = edm().replace(interval=(-2.0 * np.log(5.0), KARRAS[1]))
    built = edm(log_snr=(-2.0 * np.log(5.0), KARRAS[1]))
    same_prior(cut, built)
    keys = jax.random.split(jax.random.key(0), 400)
    draw = jax.vmap(lambda key: dg.sample(cut, dg.latent(cut, key), steps=64))
    out = draw(keys)
    # The start N(0, 25) stands for N(0, 25 + 0.25).
    scale = STD * np.sqrt(25.0 / 25.25)
    assert np.std(out.x) == pytest.approx(STD, abs=4 * STD / np.sqrt(2 * 1200))
    truth = stats.norm(scale=scale).logpdf(np.asarray(out.x)).sum(1)
    np.testing.assert_allclose(out.log_density, truth, atol=1e-2)


def test_specimen_of_the_report():
    """x = 1 in one dimension is worth -2.163 + what the replaced start misses."""
    cut = edm((1,)).replace(interval=(-2.0 * np.log(5.0), KARRAS[1]))
    value = dg.log_density(cut, jnp.ones(1), steps=256).value
    scale = STD * np.sqrt(25.0 / 25.25)
    np.testing.assert_allclose(value, stats.norm(scale=scale).logpdf(1.0), atol=1e-3)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("exact", [False, True])
def test_a_world_cut_is_the_world_built(path, exact):
    flow = world("mixture12", path, (-10.0, 8.0), exact).replace(interval=(-3.0, 5.0))
    same_prior(flow, world("mixture12", path, (-3.0, 5.0), exact))


def test_traced_ends_move_the_prior_without_compiling():
    flow, traces = world("mixture12", "ve"), []

    @jax.jit
    def scale(flow, start):
        traces.append(1)
        cut = flow.replace(interval=(start, flow.interval[1]))
        return dg.sample(cut, dg.latent(cut, jax.random.key(0)), steps=8).log_density

    values = [float(scale(flow, start)) for start in (-8.0, -4.0)]
    for value, start in zip(values, (-8.0, -4.0), strict=True):
        built = world("mixture12", "ve", (start, 8.0))
        expected = dg.sample(built, dg.latent(built, jax.random.key(0)), steps=8).log_density
        np.testing.assert_allclose(value, expected, rtol=1e-9)
    assert len(traces) == 1
    slope = jax.grad(lambda start: flow.replace(interval=(start, 8.0)).prior.log_prob(jnp.ones(12)))
    assert np.isfinite(slope(-4.0))


def test_another_shape_brings_its_own_prior():
    flow = edm((4,)).replace(shape=(8,))
    assert flow.prior.sample(jax.random.key(0)).shape == (8,)
    same_prior(flow, edm((8,)))
    x = jnp.full(8, 0.3)
    truth = stats.norm(scale=STD).logpdf(np.asarray(x)).sum()
    np.testing.assert_allclose(dg.log_density(flow, x, steps=400).value, truth, atol=2e-3)


def test_other_weights_of_a_world_move_its_exact_prior():
    flow = world("mixture12", "linear", (-2.0, 6.0))
    params = flow.params._replace(means=flow.params.means + 1.0)
    other = flow.replace(params=params)
    x = jnp.linspace(-1.0, 1.0, 12)
    np.testing.assert_allclose(
        other.prior.log_prob(x), other.log_density(x, other.interval[0]), rtol=1e-12
    )


def anything(**more):
    options = {"prior": dg.priors.normal((2,)), "interval": (0.0, 1.0), "shape": (2,)} | more
    return dg.cnf(lambda x, t: -x, **options)


def test_a_prior_that_was_given_stays_with_its_start():
    flow = anything()
    assert flow.replace(interval=(0.0, 0.5)).prior is flow.prior
    wide = dg.priors.normal((2,), 3.0)
    assert flow.replace(interval=(0.5, 1.0), prior=wide).prior is wide
    with pytest.raises(ValueError, match="prior was given, not derived"):
        flow.replace(interval=(0.5, 1.0))
    with pytest.raises(ValueError, match="prior was given"):  # nothing is known of a traced start
        jax.jit(lambda start: flow.replace(interval=(start, 1.0)).interval[0])(0.0)
    stop = jax.jit(lambda flow, stop: flow.replace(interval=(flow.interval[0], stop)).interval[1])
    assert stop(flow, 0.5) == 0.5
    # A prior put on a Gaussian path is one that was given.
    moved = edm().replace(prior=dg.priors.normal((3,), 5.0))
    with pytest.raises(ValueError, match="prior was given"):
        moved.replace(interval=(-2.0, 3.0))


def test_between_is_a_part_and_keeps_the_prior_of_the_whole():
    flow = world("mixture12", "vp")
    part = flow.between(-2.0, 3.0)
    assert part.prior is flow.prior
    assert [float(end) for end in part.interval] == [-2.0, 3.0]
    with pytest.raises(ValueError, match="prior was given"):
        part.replace(interval=(-1.0, 3.0))
    state = dg.worlds.flow_map(gaussian(4), jnp.ones(4), -2.0, 3.0)
    there = dg.sample(gaussian(4).between(-2.0, 3.0), jnp.ones(4), divergence=None, **TIGHT)
    np.testing.assert_allclose(there.x * PATHS["vp"].alpha(3.0), state, atol=1e-6)
    assert [float(end) for end in flow.between(3.0, -2.0).interval] == [3.0, -2.0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda flow: flow.replace(params=jnp.asarray(0.9)), "params"),
        (lambda flow: flow.replace(shape=(5,)), "shape"),
        (lambda flow: flow.replace(prior=dg.priors.normal((3,), 80.0)), "prior"),
        (lambda flow: flow.replace(interval=(-12.0, 3.0)), "interval"),
        (lambda flow: flow.replace(params=jnp.asarray(0.9), shape=(5,)), "params and shape"),
    ],
)
def test_a_calibration_of_something_else_is_dropped_with_one_line(change, what):
    flow = calibrated(edm())
    with pytest.warns(UserWarning, match=f"belongs to its old {what} and is dropped") as seen:
        assert change(flow).calibration is None
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_a_calibration_stays_where_it_belongs():
    flow = calibrated(edm())
    other = jax.tree.map(lambda part: 2.0 * part, flow.calibration)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flow.replace(interval=(-5.0, 3.0)).calibration is flow.calibration
        assert flow.between(-5.0, 3.0).calibration is flow.calibration
        assert flow.replace(transform=None).calibration is flow.calibration
        assert flow.replace(params=jnp.ones(()), calibration=other).calibration is other
        assert flow.replace(params=jnp.ones(()), calibration=None).calibration is None


def told(**more):
    return dg.diffusion(
        lambda w, x, t, c: w * x + 0.1 * c,
        params=jnp.asarray(0.5),
        path=PATHS["vp"],
        prediction="noise",
        shape=(2,),
        **{"condition": 0} | more,
    )


def test_another_condition_drops_the_calibration_of_the_old_one():
    flow = calibrated(told())
    with pytest.warns(UserWarning, match="belongs to its old condition") as seen:
        assert flow.given(1).calibration is None
    assert seen[0].filename == __file__
    assert flow.given(0).calibration is flow.calibration
    other = jax.tree.map(lambda part: 2.0 * part, flow.calibration)
    assert flow.given(1, calibration=other).calibration is other


def test_other_weights_keep_the_condition():
    flow = told().given(3)
    other = flow.replace(params=jnp.asarray(0.7))
    x = jnp.ones(2)
    expected = told(condition=3).replace(params=jnp.asarray(0.7))
    np.testing.assert_array_equal(other.score(x, 0.0), expected.score(x, 0.0))
    mixed = dg.classifier_free(flow, 2.0, negative=0)
    moved = dg.classifier_free(other, 2.0, negative=0)
    again = mixed.replace(params=jnp.asarray(0.7))
    np.testing.assert_array_equal(again.score(x, 0.0), moved.score(x, 0.0))
    assert flow.replace(params=expected.params).params is expected.params


def test_a_traced_class_outside_the_range_is_told():
    flow = told(classes=range(-1, 3))
    valid = jax.jit(jax.vmap(lambda label: flow.given(label).condition_valid()))
    np.testing.assert_array_equal(
        valid(jnp.arange(-2, 5)), [False, True, True, True, True, False, False]
    )
    free = jax.vmap(lambda c: dg.classifier_free(flow, 2.0, negative=c).condition_valid())
    np.testing.assert_array_equal(free(jnp.asarray([-1, 2, 3])), [True, True, False])
    assert bool(told().given(99).condition_valid())  # nothing is known of its classes
    assert bool(edm().condition_valid())


def test_a_shipped_network_knows_its_classes():
    flow = dg.models.load("digits8-class")
    assert flow.classes == range(-1, 10)
    with pytest.raises(ValueError, match="must be a class from -1 to 9, got 10"):
        flow.given(10)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Box:
    """A user's own prior."""

    half: jax.Array

    def sample(self, key):
        return jax.random.uniform(key, (2,), minval=-1.0) * self.half

    def log_prob(self, x):
        inside = jnp.all(jnp.abs(x) <= self.half)
        return jnp.where(inside, -2.0 * jnp.log(2.0 * self.half), -jnp.inf)


def test_a_prior_is_checked_without_being_run():
    """Also where its numbers are traced; it is not sampled."""
    assert anything(prior=Box(jnp.ones(()))).prior.sample(jax.random.key(0)).shape == (2,)
    value = jax.jit(lambda half: anything(prior=Box(half)).prior.log_prob(jnp.zeros(2)))(2.0)
    np.testing.assert_allclose(value, -2.0 * np.log(4.0))


def test_a_flow_is_one_readable_line():
    shipped = repr(dg.models.load("digits8-class"))
    assert "predicts v, 385 k parameters, conditional, calibrated, transform Dequ" in shipped
    assert len(shipped) < 200
    assert "\n" not in shipped
    assert repr(edm()) == (
        "Flow((3,), variance_exploding path, log-SNR -8.764 to 12.43, predicts data, 1 parameters)"
    )
    assert repr(anything()) == "Flow((2,), t 0 to 1, 0 parameters, no score)"
    seen = []
    jax.jit(lambda flow: seen.append(repr(flow)))(world("mixture12", "vp"))
    assert "log-SNR traced to traced" in seen[0]
    assert "closed form" in seen[0]
    assert repr(jax.tree.map(lambda leaf: object(), edm())).startswith("Flow(")
