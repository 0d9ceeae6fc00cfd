import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.models.build import build, initialise
from densityguide.models.layers import GroupNorm
from densityguide.models.unet import depth_to_space, space_to_depth

TINY = {"widths": [8, 16], "blocks": [1, 1], "attention": [False, True], "embedding": 16}
SMALL = {"widths": [8], "blocks": [1], "attention": [False], "embedding": 8}


def random_params(module, shape):
    """Random everywhere: zero-initialised layers would hide everything behind them."""
    shapes = jax.eval_shape(lambda: initialise(module, jax.random.key(0), shape))
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(0.3 * random.normal(size=leaf.shape), jnp.float32), shapes
    )


TOKENS = {"width": 16, "depth": 2, "heads": 2, "embedding": 16}
CASES = [("unet", TINY, (8, 8, 3)), ("mlp", {}, (2,)), ("dit", TOKENS, (4, 6, 3))]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fields", "shape"), CASES)
def test_batches_by_vmap(kind, fields, shape):
    module = build(kind, fields)
    params = random_params(module, shape)
    x = jax.random.normal(jax.random.key(1), (5, *shape))
    levels = jnp.linspace(-9.0, 8.0, 5)
    apply = jax.jit(module.apply)
    many = jax.jit(jax.vmap(module.apply, (None, 0, 0)))(params, x, levels)
    assert many.shape == x.shape
    assert many.dtype == jnp.float32
    for i in range(5):
        one = apply(params, x[i], levels[i])
        np.testing.assert_allclose(many[i], one, rtol=1e-3, atol=1e-4 * float(abs(one).max()))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fields"), [("unet", SMALL), ("dit", TOKENS)])
def test_network_is_smooth_in_log_snr_and_x(kind, fields):
    module = build(kind, fields)
    params = random_params(module, (8, 8, 3))
    x, v = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))

    def f(t):
        return jnp.sum(module.apply(params, x + t * v, 0.3 + t) ** 2)

    first, second = jax.jit(jax.grad(f)), jax.jit(jax.grad(jax.grad(f)))
    step = 1e-2
    numeric = (first(step) - first(-step)) / (2 * step)
    np.testing.assert_allclose(second(0.0), numeric, rtol=0.05)


def test_bfloat16_compute_returns_the_input_type():
    module = build("unet", SMALL | {"dtype": "bfloat16"})
    params = random_params(module, (8, 8, 3))
    out = jax.jit(module.apply)(params, jnp.ones((8, 8, 3)), jnp.zeros(()))
    assert out.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_labels_change_the_output_and_none_is_a_class():
    module = build("unet", SMALL | {"classes": 3})
    params = random_params(module, (8, 8, 3))
    x = jax.random.normal(jax.random.key(1), (8, 8, 3))
    apply = jax.jit(module.apply)
    outs = [apply(params, x, 0.0, label) for label in (None, 0, 1, 2)]
    assert len({float(out.sum()) for out in outs}) == 4
    plain = build("unet", SMALL)
    with pytest.raises(ValueError, match="classes=0"):
        plain.init(jax.random.key(0), x, 0.0, 1)


def test_space_to_depth_round_trip():
    x = jnp.arange(8 * 4 * 3.0).reshape(8, 4, 3)
    assert space_to_depth(x, 2).shape == (4, 2, 12)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x, 2), 2), x)


def test_group_norm_is_the_textbook_formula():
    x = 3.0 + jax.random.normal(jax.random.key(0), (4, 4, 16))
    norm = GroupNorm(groups=4)
    out = norm.apply(norm.init(jax.random.key(1), x), x)
    grouped = np.asarray(x).reshape(16, 4, 4)
    mean, var = grouped.mean((0, 2), keepdims=True), grouped.var((0, 2), keepdims=True)
    expected = ((grouped - mean) / np.sqrt(var + 1e-5)).reshape(4, 4, 16)
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("unett", {}, "did you mean 'unet'"),
        ("unet", {"width": [8]}, "did you mean 'widths'"),
    ],
)
def test_unknown_kind_or_field_is_refused(kind, fields, words):
    with pytest.raises(ValueError, match=words):
        build(kind, fields)


@pytest.mark.parametrize(
    ("fields", "shape", "words"),
    [
        (TINY, (6, 8, 3), "divisible by 4"),
        (TINY, (2, 8, 8, 3), "jax.vmap"),
        (TINY | {"blocks": [1]}, (8, 8, 3), "equal length"),
        (TINY | {"widths": [9, 16]}, (8, 8, 3), "divisible by 8"),
        (TOKENS, (5, 8, 3), "divisible by 2"),
        (TOKENS | {"width": 18, "heads": 4}, (8, 8, 3), "divisible by 4 and by heads"),
    ],
)
def test_shapes_that_cannot_work_are_one_clear_line(fields, shape, words):
    kind = "dit" if "heads" in fields else "unet"
    with pytest.raises(ValueError, match=words):
        initialise(build(kind, fields), jax.random.key(0), shape)


def test_preconditioning_is_that_of_the_flow():
    """A field `sigma_data` is what `densityguide.edm` does to the network without it."""
    inner, outer = build("mlp", {}), build("mlp", {"sigma_data": 0.7})
    params = random_params(outer, (2,))
    bare = {"params": params["params"]["inner"]}
    shape = {"path": dg.paths.variance_exploding(), "prediction": "data", "shape": (2,)}
    ours = dg.diffusion(outer, params=params, **shape)

    def raw(params, x, c_noise):
        return inner.apply(params, x, -8.0 * c_noise)

    theirs = dg.diffusion(dg.edm(raw, 0.7), params=bare, clock=dg.clocks.edm_noise, **shape)
    x = jnp.asarray([0.4, -3.0])
    for level in (-4.0, 2.0):
        np.testing.assert_allclose(ours.score(x, level), theirs.score(x, level), rtol=2e-4)


@pytest.mark.slow
def test_every_layer_of_a_fresh_transformer_learns():
    """Gates that start at zero must not shut off what lies behind them for good."""
    module = build("dit", TOKENS)
    x = jax.random.normal(jax.random.key(1), (8, 8, 3))
    params = initialise(module, jax.random.key(0), x.shape)

    @jax.jit
    def step(params):
        loss = lambda p: jnp.mean((module.apply(p, x, 0.3) - x) ** 2)  # noqa: E731
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, jax.grad(loss)(params))

    later = params
    for _ in range(4):
        later = step(later)
    still = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), params, later)
    assert not any(jax.tree.leaves(still)), still


@pytest.mark.usefixtures("unoptimised")
@pytest.mark.parametrize(("kind", "fields", "shape"), [("unet", SMALL, (4, 4, 1)), *CASES[1:]])
def test_a_fresh_network_returns_zero(kind, fields, shape):
    module = build(kind, fields)

    @jax.jit
    def fresh(key):
        return module.apply(module.init(key, jnp.ones(shape), 0.0), jnp.ones(shape), 0.0)

    np.testing.assert_array_equal(fresh(jax.random.key(0)), jnp.zeros(shape))
