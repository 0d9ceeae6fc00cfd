"""Flows: one pytree, wired from networks the way the equations say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS, latents, world

import densityguide as dg
from densityguide.flow.local import evaluate


@pytest.mark.parametrize("path", PATHS)
def test_velocity_moves_the_density_it_has_the_score_of(path):
    """The continuity equation: d log p_t/dt + u . s + div u = 0, at every point and level."""
    flow = world("mixture12", path)
    x = latents(flow, 3, 4)

    @jax.jit
    def residual(x, t):
        x = x / flow.path.sigma(-10.0) * (flow.path.alpha(t) + flow.path.sigma(t))
        change = jax.grad(lambda t: flow.log_density(x, t))(t)
        transport = flow.velocity(x, t) @ flow.score(x, t)
        return change + transport + dg.worlds.divergence(flow, x, t)

    for t in (-9.0, -2.0, 1.0, 7.0):
        np.testing.assert_allclose(jax.vmap(residual, (0, None))(x, t), 0.0, atol=1e-9)


@pytest.mark.parametrize("path", PATHS)
def test_prior_has_the_noise_scale_of_the_path(path):
    flow = world("mixture12", path, (-7.0, 5.0), exact=False)
    np.testing.assert_allclose(flow.prior.scale, flow.path.sigma(-7.0), rtol=1e-12)
    from scipy import stats

    x = latents(flow, 1)[0]
    truth = stats.norm(scale=float(flow.path.sigma(-7.0))).logpdf(np.asarray(x)).sum()
    np.testing.assert_allclose(flow.prior.log_prob(x), truth, rtol=1e-12)
    np.testing.assert_allclose(
        dg.priors.score(flow.prior, x), -x / flow.path.sigma(-7.0) ** 2, rtol=1e-12
    )


def test_one_pass_gives_values_and_both_tangents():
    flow = world("mixture12", "linear")
    x, v = latents(flow, 2)
    t = jnp.asarray(0.5)
    local = evaluate(flow, x, t, tangents=True)
    np.testing.assert_allclose(local.velocity, flow.velocity(x, t), rtol=1e-12)
    np.testing.assert_allclose(local.score, flow.score(x, t), rtol=1e-12)
    for ours, fn in zip(local.tangent(v), (flow.velocity, flow.score), strict=True):
        np.testing.assert_allclose(ours, jax.jacfwd(lambda x, fn=fn: fn(x, t))(x) @ v, rtol=1e-9)


def test_flows_compare_by_value_and_carry_weights_as_leaves():
    one, two = world("mixture12", "ve"), world("mixture12", "ve")
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert jax.tree.structure(one) != jax.tree.structure(world("mixture12", "vp"))
    shapes = [leaf.shape for leaf in jax.tree.leaves(one)]
    assert (4, 12) in shapes
    many = jax.tree.map(lambda a, b: jnp.stack([a, b]), one, two)
    x = latents(one, 2)
    values = jax.vmap(lambda flow, x: flow.velocity(x, 0.0))(many, x)
    np.testing.assert_allclose(values[1], two.velocity(x[1], 0.0), rtol=1e-12)


def test_a_flax_module_and_a_function_are_the_same_flow():
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, t):
            return nn.Dense(3)(jnp.append(jnp.tanh(x), t))

    module = Net()
    params = module.init(jax.random.key(0), jnp.ones(3), jnp.ones(()))
    options = {
        "params": params,
        "path": PATHS["linear"],
        "prediction": "data",
        "shape": (3,),
        "clock": dg.clocks.flow_time,
    }
    one, two = dg.diffusion(module, **options), dg.diffusion(module.apply, **options)
    x = jnp.asarray([0.1, -2.0, 1.0])
    np.testing.assert_array_equal(one.velocity(x, 0.3), two.velocity(x, 0.3))


def test_network_sees_its_own_time():
    seen = []

    def network(x, t):
        seen.append(t)
        return x

    flow = dg.diffusion(
        network,
        path=PATHS["vp"],
        prediction="noise",
        shape=(2,),
        clock=dg.clocks.edm_noise,
    )
    flow.velocity(jnp.ones(2), 4.0)
    assert float(seen[-1]) == pytest.approx(-0.5)
