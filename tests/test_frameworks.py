"""The same network in every framework is the same flow, in five lines."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import densityguide as dg

X64 = False
SIZE = 4
PATH = {"path": dg.paths.variance_preserving(), "prediction": "noise", "shape": (SIZE,)}
FIRST = jax.random.normal(jax.random.key(1), (SIZE + 1, 8))
SECOND = jax.random.normal(jax.random.key(2), (8, SIZE))


def formula(first, second, x, t):
    return nn.silu(jnp.append(x, 0.1 * t) @ first) @ second


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        hidden = nn.Dense(8, use_bias=False)(jnp.append(x, 0.1 * t))
        return nn.Dense(SIZE, use_bias=False)(nn.silu(hidden))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(SIZE + 1, 8, use_bias=False, rngs=rngs)
        self.second = nnx.Linear(8, SIZE, use_bias=False, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x, t):
        return self.second(self.dropout(nn.silu(self.first(jnp.append(x, 0.1 * t)))))


class Equinox(eqx.Module):
    first: eqx.nn.Linear
    second: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, key):
        self.first = eqx.nn.Linear(SIZE + 1, 8, use_bias=False, key=key)
        self.second = eqx.nn.Linear(8, SIZE, use_bias=False, key=key)
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, t):
        return self.second(self.dropout(jax.nn.silu(self.first(jnp.append(x, 0.1 * t)))))


# Five lines each, as a user would write them.
def function_flow():
    def apply(params, x, t):
        return formula(*params, x, t)

    return dg.diffusion(apply, params=(FIRST, SECOND), **PATH)


def linen_flow():
    params = {"params": {"Dense_0": {"kernel": FIRST}, "Dense_1": {"kernel": SECOND}}}
    return dg.diffusion(Linen(), params=params, **PATH)


def nnx_flow():
    module = Nnx(nnx.Rngs(0))
    module.first.kernel[...], module.second.kernel[...] = FIRST, SECOND
    return dg.diffusion(module, **PATH)


def equinox_flow():
    module = Equinox(jax.random.key(0))
    where = lambda m: (m.first.weight, m.second.weight)  # noqa: E731
    return dg.diffusion(eqx.tree_at(where, module, (FIRST.T, SECOND.T)), **PATH)


FLOWS = {"linen": linen_flow, "nnx": nnx_flow, "equinox": equinox_flow}


def draw(flow, x):
    return dg.sample(flow, x, guidance=dg.quantile(0.6), steps=6)


@pytest.mark.parametrize("name", FLOWS)
def test_every_framework_gives_the_same_guided_sample(name):
    x = jnp.asarray([0.3, -1.0, 0.7, 0.1])
    ours, theirs = (jax.jit(draw)(flow, x) for flow in (function_flow(), FLOWS[name]()))
    np.testing.assert_allclose(ours.x, theirs.x, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(ours.tracked, theirs.tracked, rtol=2e-5)


@pytest.mark.parametrize("name", FLOWS)
def test_weights_are_arguments(name):
    """Other weights, and a module built anew, run in the compiled program."""
    traces = []

    @jax.jit
    def run(flow, x):
        traces.append(name)
        return draw(flow, x).x

    x = jnp.ones(SIZE)
    flow = FLOWS[name]()
    first = run(flow, x)
    halved = jax.tree.map(
        lambda a: 0.5 * a if jnp.issubdtype(a.dtype, jnp.floating) else a, flow.params
    )
    assert np.abs(run(flow.replace(params=halved), x) - first).max() > 1e-3
    np.testing.assert_array_equal(run(FLOWS[name](), x), first)
    assert len(traces) == 1


@pytest.mark.slow
def test_weights_of_a_module_can_be_differentiated_and_averaged():
    """Random streams of a dropout layer are none of them."""
    flow = nnx_flow()
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(flow.params))
    gradient = jax.grad(lambda f: dg.sample(f, jnp.ones(SIZE), steps=3).x.sum())(flow)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_the_users_module_is_left_alone():
    module = Nnx(nnx.Rngs(0))
    flow = dg.diffusion(module, **PATH)
    assert not module.dropout.deterministic
    before = flow.velocity(jnp.ones(SIZE), 0.0)
    module.first.kernel[...] = jnp.zeros_like(FIRST)
    np.testing.assert_array_equal(flow.velocity(jnp.ones(SIZE), 0.0), before)


class Counting(nnx.Module):
    def __init__(self):
        self.calls = nnx.Variable(jnp.zeros(()))

    def __call__(self, x, t):
        self.calls[...] = self.calls[...] + 1.0
        return x


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        return nn.BatchNorm(use_running_average=False)(x[None])[0]


class NoisyEquinox(eqx.Module):
    def __call__(self, x, t, *, key):
        return x


REFUSED = {
    "state": (lambda: dg.diffusion(Counting(), **PATH), "Counting changes its own state when"),
    "linen-state": (
        lambda: dg.diffusion(
            Normalised(), params=Normalised().init(jax.random.key(0), jnp.ones(SIZE), 0.0), **PATH
        ),
        "the network failed on ONE sample",
    ),
    "linen-bare": (lambda: dg.diffusion(Linen(), **PATH), "a linen module keeps no weights"),
    "twice": (
        lambda: dg.diffusion(Nnx(nnx.Rngs(0)), params={}, **PATH),
        "the weights come with a module of nnx",
    ),
    "key": (lambda: dg.diffusion(NoisyEquinox(), **PATH), "missing .* 'key'"),
    "class": (lambda: dg.diffusion(Linen, **PATH), "got the class .*: make an instance"),
    "nothing": (lambda: dg.diffusion(3.0, **PATH), "apply must be a function"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
