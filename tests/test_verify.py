"""`verify` passes right wirings and names the mistake in wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS, pinned

import densityguide as dg
from densityguide.flow import clocks
from densityguide.verify import wiring
from densityguide.verify.case import Case
from densityguide.verify.wirings import label_of, outputs

VP, VE, LINEAR = (PATHS[name] for name in ("vp", "ve", "linear"))
SPEC = pinned()["mixture12"]
SHRINK = 0.35  # to about the spread of images in [-1, 1]


def world(path, log_snr=(-10.0, 8.0)):
    means, scales = (SHRINK * np.array(SPEC[name]) for name in ("means", "scales"))
    return dg.worlds.mixture(SPEC["weights"], means, scales, path=path, log_snr=log_snr)


def identity(t):
    return t


def log_snr_of_flow_time(t):
    t = jnp.clip(t, 1e-6, 1 - 1e-6)
    return 2 * jnp.log(t) - 2 * jnp.log1p(-t)


def network(path, prediction, clock=clocks.log_snr, undo=identity):
    """The exact network of this kind, as a user would bring it: (params, x, t)."""
    exact = world(path)

    def apply(params, x, t):
        log_snr = undo(t)
        score = exact.score(x, log_snr)
        out = dg.predictions.score_to(
            score, x, log_snr, path=path, prediction=prediction, clock=clock
        )
        return params * out

    return apply


def wired(apply, **changes):
    settings = {"path": VP, "prediction": "noise", "log_snr": (-10.0, 8.0), **changes}
    return dg.diffusion(apply, params=jnp.ones(()), shape=(12,), **settings)


@pytest.fixture(scope="module")
def data():
    near = world(VP).replace(interval=(jnp.asarray(12.0), jnp.asarray(13.0)))
    prior = dg.worlds.exact_prior(near).prior
    x = jax.vmap(prior.sample)(jax.random.split(jax.random.key(7), 128))
    return x / VP.alpha(12.0)


VELOCITY = {"path": LINEAR, "prediction": "velocity"}

RIGHT = {
    "noise": wired(network(VP, "noise")),
    "flow matching": wired(
        network(LINEAR, "velocity", clocks.flow_time, log_snr_of_flow_time),
        clock=clocks.flow_time,
        **VELOCITY,
    ),
}

MISTAKES = {
    "noise taken for data": (
        wired(network(VP, "noise"), prediction="data"),
        "seems to predict noise, not data",
    ),
    "data taken for noise": (wired(network(VP, "data")), "seems to predict data, not noise"),
    "v taken for noise": (wired(network(VP, "v")), "seems to predict v, not noise"),
    "wrong sign": (
        wired(lambda p, x, t: -network(VP, "noise")(p, x, t)),
        "wrong sign",
    ),
    "swapped clock": (
        wired(network(VP, "noise", undo=lambda t: -t)),
        "run the other way",
    ),
    "flow time reversed": (
        wired(
            network(
                LINEAR, "velocity", clocks.reversed_flow_time, lambda t: -log_snr_of_flow_time(t)
            ),
            clock=clocks.flow_time,
            **VELOCITY,
        ),
        "reversed_flow_time",
    ),
    "timesteps not scaled": (
        wired(network(VP, "noise", undo=lambda t: t / 1000)),
        "1000 times",
    ),
    "another path": (wired(network(VP, "noise"), path=LINEAR), "variance_preserving"),
    "input not scaled": (
        wired(lambda p, x, t: network(VE, "noise")(p, x * jnp.sqrt(1 + jnp.exp(-t)), t), path=VE),
        "c_in",
    ),
    "range too short": (wired(network(VP, "noise"), log_snr=(0.0, 8.0)), "log_snr= lower"),
}


def test_denoising_is_better_than_linear_only_where_the_wiring_is_right(data):
    """The measure behind the verdicts below, without their compilations."""
    keys = tuple(jax.random.split(jax.random.key(0), 5))

    def passed(flow):
        return Case(flow, keys, data, None, len(data), 8).denoising.passed

    assert passed(RIGHT["noise"])
    for name in ("noise taken for data", "wrong sign", "swapped clock"):
        assert not passed(MISTAKES[name][0]), name


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_right_wirings_pass(name, data):
    report = dg.verify(RIGHT[name], jax.random.key(0), data=data)
    assert report.passed, str(report)
    assert "FAIL" not in str(report)


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_each_wiring_mistake_is_named(name, data):
    flow, words = MISTAKES[name]
    report = dg.verify(flow, jax.random.key(0), data=data)
    assert not report.passed
    assert words in report.advice[0], str(report)


def biased(amount, factor=1.0):
    return wired(lambda p, x, t: factor * network(VP, "noise")(p, x, t) + amount)


@pytest.mark.slow
def test_a_bias_below_the_floor_of_errors_is_told():
    """All samples drift to one side; every level is denoised within what is allowed."""
    report = dg.verify(biased(0.08), jax.random.key(0))
    checks = {check.name: check.passed for check in report.checks}
    assert checks["denoising (own samples)"] is True, str(report)
    assert checks["mean is kept"] is False
    assert "drift to one side" in report.advice[0]
    assert {check.name for check in report.checks if check.passed is False} == {"mean is kept"}


def test_a_bias_is_seen_as_large_as_it_is():
    """Noise off by b moves the denoised of data of spread s by ``sigma b / (alpha s)``."""
    bias, spread = 0.08, 0.5
    flow = wired(
        lambda p, x, t: VP.sigma(t) * x / ((VP.alpha(t) * spread) ** 2 + VP.sigma(t) ** 2) + bias
    )
    keys = tuple(jax.random.split(jax.random.key(0), 5))
    data = spread * jax.random.normal(keys[4], (512, 12))
    check = wiring.centre(Case(flow, keys, data, None, 512, 8))
    assert check.passed is False
    assert check.seen.endswith("log-SNR -4")
    assert float(check.seen.split()[0]) == pytest.approx(np.exp(2.0) * bias / spread, abs=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("flow", [biased(0.3), biased(0.0, 0.8)], ids=["bias", "scale"])
def test_a_fault_that_is_no_wiring_is_not_given_the_name_of_one(flow):
    report = dg.verify(flow, jax.random.key(0))
    assert not report.passed
    assert report.advice[0].startswith("no single change"), str(report)


@pytest.mark.slow
def test_without_data_the_model_is_held_against_its_own_samples():
    assert dg.verify(RIGHT["noise"], jax.random.key(0)).passed
    report = dg.verify(MISTAKES["v taken for noise"][0], jax.random.key(0))
    assert "seems to predict v" in report.advice[0]


@pytest.mark.slow
def test_data_of_another_scale_are_named(data):
    report = dg.verify(RIGHT["noise"], jax.random.key(0), data=0.5 * data + 0.5)
    assert not report.passed
    assert any("pass 2 x - 1" in line for line in report.advice), str(report)


def cnf(**changes):
    base = world(VP)
    settings = {
        "params": base.params,
        "prior": base.prior,
        "interval": (-10.0, 8.0),
        "shape": (12,),
        "score": lambda p, x, t: base.field(p, x, t)[1],
        **changes,
    }
    return dg.cnf(lambda p, x, t: base.field(p, x, t)[0], **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"score": lambda p, x, t: -world(VP).field(p, x, t)[1]}, "wrong sign"),
        ({"score": lambda p, x, t: 3.0 * world(VP).field(p, x, t)[1]}, "another scale"),
        ({"interval": (8.0, -10.0)}, "swap it"),
    ],
)
def test_mistakes_in_a_cnf_are_named(changes, words, data):
    report = dg.verify(cnf(**changes), jax.random.key(0), data=data)
    assert any(words in line for line in report.advice), str(report)


@pytest.mark.slow
def test_a_linear_field_has_no_kinks():
    """The curvature of a Gaussian's field is zero up to rounding."""
    from densityguide.verify.network import kinks

    with jax.enable_x64(False):
        flow = dg.worlds.gaussian(jnp.zeros(3), jnp.diag(jnp.asarray([1.0, 0.2, 0.05])))
        keys = tuple(jax.random.split(jax.random.key(0), 5))
        check = kinks(Case(flow, keys, None, None, 16, 8))
    assert check.passed, check.seen


@pytest.mark.slow
def test_kinks_low_precision_randomness_and_nan_are_named():
    rng = np.random.default_rng(0)
    weights = [
        jnp.asarray(rng.normal(size=(12, 64)) / 4),
        jnp.asarray(rng.normal(size=(64, 12)) / 8),
    ]

    data = rng.normal(size=(16, 12))

    def network(activation, dtype=jnp.float32, extra=lambda: 0.0):
        def apply(params, x, t):
            hidden = activation(3 * (x @ params[0]))
            return (hidden @ params[1] + extra()).astype(dtype)

        flow = dg.diffusion(
            apply, params=weights, path=VP, prediction="noise", log_snr=(-8, 8), shape=(12,)
        )
        return dg.verify(flow, jax.random.key(0), data=data, steps=6)

    def failed(report):
        return {check.name for check in report.checks if check.passed is False}

    def kinks(report):
        [check] = [check for check in report.checks if check.name == "smooth (no kinks)"]
        assert check.passed is not False  # no mistake of the wiring
        return check.passed is None

    assert kinks(network(jax.nn.relu))
    assert not kinks(network(jax.nn.silu))
    assert "precision" in failed(network(jax.nn.silu, dtype=jnp.bfloat16))
    assert "repeatable" in failed(network(jax.nn.silu, extra=np.random.default_rng(1).normal))
    assert failed(network(lambda x: x / 0.0 * 0.0)) == {"finite outputs"}


@pytest.mark.parametrize(
    ("given", "words"),
    [(np.ones((4, 12)), "n >= 8"), (np.ones((16, 12), int), "transform first")],
)
def test_bad_input(given, words):
    with pytest.raises(ValueError, match=words):
        dg.verify(RIGHT["noise"], jax.random.key(0), data=given)


@pytest.mark.parametrize("kind", ["a class", "a tree", "mixed"])
def test_every_sample_is_told_its_own_class(kind):
    def apply(params, x, t, condition):
        return params * (x + (condition["label"] if kind == "a tree" else condition))

    condition = {"label": 1, "size": 2.0} if kind == "a tree" else 1
    flow = wired(apply, condition=condition, classes=3)
    x, labels = jnp.ones((3, 12)), jnp.arange(3)
    found = outputs(flow, x, 0.0, labels)
    if kind == "mixed":
        flow = dg.classifier_free(flow, 2.0, negative=0)
        found = outputs(flow, x, 0.0, labels) * -flow.path.sigma(0.0)
        labels = 2 * labels
    assert int(label_of(flow)) == 1
    np.testing.assert_allclose(found, x + labels[:, None], rtol=1e-6)
