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
