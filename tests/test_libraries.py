"""The guide's few lines for other JAX libraries, run as they stand there."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[1] / "docs/guides/your-model.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


def run(mark, **names):
    """What the one block of the guide with this text in it defines."""
    (block,) = [block for block in BLOCKS if mark in block]
    exec(block, names)
    return names


@pytest.fixture(scope="module")
def target():
    return run("ring = dg.worlds.mixture", dg=dg)


def names_of(target):
    return {"dg": dg, "jax": jax, "jnp": jnp, "key": jax.random.key(0), "log_p": target["log_p"]}


def test_the_target_and_its_gradient_are_the_closed_form(target):
    ring, x = target["ring"], jnp.asarray([0.4, -0.7])

    def closed(x):
        return ring.log_density(ring.end_scale() * x, ring.interval[1]) + ring.log_volume()

    value, slope = jax.value_and_grad(target["log_p"])(x)
    expected, its_slope = jax.value_and_grad(closed)(x)
    np.testing.assert_allclose(value, expected, atol=0.02)
    np.testing.assert_allclose(slope, its_slope, atol=0.02)


@pytest.mark.parametrize(
    ("library", "mark"),
    [("numpyro", "from numpyro.infer"), ("blackjax", "import blackjax")],
)
def test_a_sampler_draws_from_the_flow(target, library, mark):
    pytest.importorskip(library, reason="tested in an environment of its own")
    draws = np.asarray(run(mark, **names_of(target))["draws"])[-300:]
    # Two halves at -0.5 and 0.5 with a spread of 0.6; neighbours of a chain are alike.
    spread = np.sqrt([0.6**2 + 0.5**2, 0.6**2])
    np.testing.assert_allclose(draws.mean(0), 0.0, atol=0.4)
    np.testing.assert_allclose(draws.std(0), spread, rtol=0.25)


def shrinks(flow, prior, log_prob):
    """Along dx/dt = -x volumes shrink by exp(-2): log p(x) = log prior(e x) + 2."""
    x = jnp.asarray([0.3, -0.2])
    found = dg.log_density(flow, x, steps=32)
    np.testing.assert_allclose(found.value, log_prob(jnp.e * x) + 2.0, atol=1e-4)
    out = dg.sample(flow, dg.latent(flow, jax.random.key(1)), steps=32)
    np.testing.assert_allclose(out.log_density, log_prob(jnp.e * out.x) + 2.0, atol=1e-3)


def test_priors_of_numpyro(target):
    pytest.importorskip("numpyro", reason="tested in an environment of its own")
    found = run("import numpyro.distributions", **names_of(target))

    def log_prob(x):
        return jax.scipy.stats.t.logpdf(x, 5.0).sum()

    shrinks(found["heavy"], found["prior"], log_prob)


def test_priors_of_distrax_and_of_tensorflow_probability(target):
    pytest.importorskip("distrax", reason="tested in an environment of its own")
    found = run("import distrax", **names_of(target))

    def log_prob(x):
        return jax.scipy.stats.norm.logpdf(x, 1.0, jnp.asarray([0.5, 2.0])).sum()

    shrinks(found["moved"], found["prior"], log_prob)
    from tensorflow_probability.substrates import jax as tfp

    theirs = tfp.distributions.MultivariateNormalDiag(jnp.ones(2), jnp.asarray([0.5, 2.0]))
    prior = found["Theirs"](theirs)
    options = {"prior": prior, "interval": (0.0, 1.0), "shape": (2,)}
    shrinks(dg.cnf(lambda x, t: -x, **options), prior, log_prob)


def test_a_train_state_is_the_flow_of_its_weights():
    path = dg.paths.variance_preserving()
    key = jax.random.key(0)
    found = run("TrainState.create", dg=dg, jax=jax, jnp=jnp, key=key, path=path)
    flow, state, x = found["trained"], found["state"], jnp.asarray([0.3, -0.2])
    expected = -state.apply_fn({"params": state.params}, x, 1.5) / path.sigma(1.5)
    np.testing.assert_allclose(flow.score(x, 1.5), expected, rtol=1e-5)


def test_a_posterior_of_gensbi():
    pytest.importorskip("gensbi", reason="tested in an environment of its own")
    from flax import nnx
    from gensbi.models import Flux1Params
    from gensbi.recipes import Flux1FlowPipeline

    options = {"mlp_ratio": 2, "num_heads": 2, "depth": 1, "depth_single_blocks": 1}
    options |= {"in_channels": 1, "context_in_dim": 1, "vec_in_dim": None, "axes_dim": [4]}
    rngs, key = nnx.Rngs(0), jax.random.key(1)
    params = Flux1Params(**options, qkv_bias=True, theta=50, dim_obs=2, dim_cond=3, rngs=rngs)
    pipeline = Flux1FlowPipeline(iter(()), iter(()), 2, 3, params=params)
    state = nnx.state(pipeline.ema_model)

    def trained(at, w):  # it starts with zeros in its last layer, and rough in time
        w = w * 0.05 if "time_in" in str(at) else w
        return w + 0.2 * jax.random.normal(key, w.shape) if "final" in str(at) else w

    nnx.update(pipeline.ema_model, jax.tree_util.tree_map_with_path(trained, state))
    pipeline._wrap_model()  # as its train() does

    observed = jnp.asarray([[0.3], [-1.0], [2.0]])
    x = 0.3 * jax.random.normal(key, (4, 2, 1))
    found = run("pipeline.ema_model", dg=dg, jnp=jnp, pipeline=pipeline, observed=observed)
    posterior, velocity = found["posterior"], found["velocity"]
    t = jnp.asarray(0.3)
    extras = {"cond": observed[None], **found["ids"]}
    expected = pipeline.ema_model_wrapped(t[None], x[:1], **extras)[0]
    path, log_snr = dg.paths.linear(), 2.0 * jnp.log(t / (1.0 - t))
    np.testing.assert_allclose(velocity(found["weights"], x[0], t, observed), expected, atol=1e-5)
    # (1 - t) s = (t v - x): the score of the linear path in terms of its velocity.
    score = (t * expected - x[0]) / path.sigma(log_snr)
    np.testing.assert_allclose(posterior.score(x[0], log_snr), score, atol=1e-4)

    own = dg.cnf(
        lambda weights, x, t: velocity(weights, x, t, observed),
        params=found["weights"],
        prior=dg.priors.normal((2, 1)),
        interval=(0.0, 1.0),
        shape=(2, 1),
    )
    measured = jax.jit(jax.vmap(lambda x: dg.log_density(own, x, rtol=1e-5, atol=1e-5).value))(x)
    np.testing.assert_allclose(measured, pipeline.log_prob(x, observed[None]), atol=0.01)


def test_a_network_of_flaxdiff():
    pytest.importorskip("flaxdiff", reason="tested in an environment of its own")
    from flaxdiff import predictors, schedulers
    from flaxdiff.models.simple_unet import Unet

    key, text = jax.random.key(0), jnp.zeros((1, 4))
    options = {"feature_depths": (16, 16), "attention_configs": (None, None), "norm_groups": 4}
    unet = Unet(output_channels=1, emb_features=32, num_res_blocks=1, **options)
    x = jax.random.normal(key, (1, 8, 8, 1))
    weights = unet.init(key, x, jnp.zeros(1), text[None])
    found = run("dg.edm(raw", dg=dg, unet=unet, weights=weights, text=text)
    schedule = schedulers.KarrasVENoiseScheduler(1, sigma_max=80, sigma_data=0.5)
    transform = predictors.KarrasPredictionTransform(0.5)
    for step in (jnp.asarray([0.1]), jnp.asarray([0.9])):
        rates = schedule.get_rates(step)
        inputs = schedule.transform_inputs(x * transform.get_input_scale(rates), step)
        data, _ = transform(x, unet.apply(weights, *inputs, text[None]), step, schedule)
        sigma = rates[1].ravel()[0]
        score = found["edm"].score(x[0], -2.0 * jnp.log(sigma))
        np.testing.assert_allclose(x[0] + sigma**2 * score, data[0], atol=1e-4)

    raw, path = found["raw"], dg.paths.variance_preserving()
    wires = {"prediction": "v", "clock": dg.clocks.cosine_time, "condition": text, "batched": True}
    turned = dg.diffusion(raw, params=weights, path=path, shape=(8, 8, 1), **wires)
    schedule, transform = (
        schedulers.CosineContinuousNoiseScheduler(),
        predictors.VPredictionTransform(),
    )
    for step in (jnp.asarray([0.1]), jnp.asarray([0.9])):
        output = unet.apply(weights, x, step, text[None])
        _, noise = transform(x, output, step, schedule)
        alpha, sigma = (rate.ravel()[0] for rate in schedule.get_rates(step))
        score = turned.score(x[0], 2.0 * jnp.log(alpha / sigma))
        np.testing.assert_allclose(score, -noise[0] / sigma, atol=1e-4)


def _wires_of_hackable(name):
    """What the guide says of its schedules."""
    path = dg.paths.variance_preserving()
    return {
        "CosineSchedule": (path, dg.clocks.cosine_time),
        "RFSchedule": (dg.paths.linear(), dg.clocks.reversed_flow_time),
        "LinearDiffusionSchedule": (path, dg.clocks.sde_time(path)),
    }[name]


KINDS = {"x0": "data", "epsilon": "noise", "score": "score", "velocity": "velocity", "v": "v"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["CosineSchedule", "RFSchedule", "LinearDiffusionSchedule"])
def test_a_network_of_hackable_diffusion(name, kind):
    """The guide's block, and what stands below it of other schedules and predictions."""
    pytest.importorskip("hackable_diffusion", reason="needs Python 3.12, in its own environment")
    from hackable_diffusion.lib import diffusion_network
    from hackable_diffusion.lib.architecture import conditioning_encoder, mlp
    from hackable_diffusion.lib.corruption import gaussian, schedules

    encoder = conditioning_encoder.ConditioningEncoder(
        time_embedder=conditioning_encoder.SinusoidalTimeEmbedder("silu", 8, 8),
        conditioning_embedders={"label": conditioning_encoder.LabelEmbedder(2, 8)},
        merge_embeddings_fn=conditioning_encoder.SumEmbeddings(),
        conditioning_rules={"time": "concatenate", "label": "concatenate"},
    )
    backbone = mlp.ConditionalMLP((8,), (8,), "silu", False, 0.0, "concatenate")
    network = diffusion_network.DiffusionNetwork(backbone, encoder, kind)
    weights = network.initialize_variables((1, 2), {"label": (1,)}, jax.random.key(0))
    label, told = jnp.asarray(1), {"label": jnp.asarray([1])}

    def output(weights, x, time, label):
        found = network.apply(
            weights, time=time, xt=x, conditioning={"label": label}, is_training=False
        )
        return found[kind]

    path, clock = _wires_of_hackable(name)
    wires = {"path": path, "clock": clock, "prediction": KINDS[kind], "log_snr": (-8.0, 8.0)}
    wires |= {"shape": (2,), "condition": label, "classes": 2, "batched": True}
    if (name, kind) == ("RFSchedule", "v"):
        with pytest.raises(ValueError, match="use 'velocity' on the linear path"):
            dg.diffusion(output, params=weights, **wires)
        return
    flow = dg.diffusion(output, params=weights, **wires)
    if (name, kind) == ("CosineSchedule", "velocity"):
        names = {"network": network, "weights": weights, "label": label}
        flow = run("hackable = ", dg=dg, **names)["hackable"]
    process = gaussian.GaussianProcess(schedule=getattr(schedules, name)())
    x = jax.random.normal(jax.random.key(1), (1, 2))
    for time in (jnp.asarray([0.2]), jnp.asarray([0.7])):
        theirs = network.apply(weights, time=time, xt=x, conditioning=told, is_training=False)
        expected = process.convert_predictions(theirs, x, time)["score"][0]
        log_snr = process.schedule.logsnr(time)[0]
        np.testing.assert_allclose(flow.score(x[0], log_snr), expected, rtol=1e-3, atol=1e-4)


def test_a_dit_of_flax_nnx_is_told_times_from_noise_to_data():
    names = {"dg": dg, "jax": jax, "jnp": jnp}
    found = run("class DiT", key=jax.random.key(0), **names)
    flow, dit = found["flow"], found["dit"]
    x, log_snr = jax.random.normal(jax.random.key(1), (8, 8, 1)), jnp.asarray(0.7)
    t = dg.paths.linear().sigma(log_snr)  # x_t = (1 - t) data + t noise
    velocity = dit(x[None], t[None], jnp.asarray([1]))[0]  # noise - data
    # Noise = x + (1 - t) v, and the score is -noise / t.
    score = -(x + (1.0 - t) * velocity) / t
    np.testing.assert_allclose(flow.score(x, log_snr), score, atol=1e-4)
