"""EDM2's network: magnitudes kept, published arrays converted, every verb on it."""

import json
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import densityguide as dg
from densityguide.models import edm2_layers as layers
from densityguide.models import edm2_weights
from densityguide.models.build import build, initialise, size
from densityguide.models.edm2 import EDM2, SIZES, Block
from studies import edm2_tiny as tiny

PUBLISHED = tiny.arrays()
USED = sorted(set(PUBLISHED) - edm2_weights.LEFT_OUT)
MILLIONS = {"xs": 125, "s": 280, "m": 498, "l": 777, "xl": 1119, "xxl": 1523}  # the paper's


@pytest.fixture(scope="module")
def converted():
    return edm2_weights.convert(PUBLISHED, head=tiny.HEAD)


@pytest.fixture(scope="module")
def flow():
    return dg.models.from_edm2(PUBLISHED, head=tiny.HEAD)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def magnitude(x):
    return float(jnp.sqrt(jnp.mean(jnp.square(x))))


# --- the laws of the layers ------------------------------------------------------------------


def test_silu_and_sums_keep_the_magnitude():
    a, b = normal(2, 256, 256)
    assert magnitude(layers.mp_silu(a)) == pytest.approx(1.0, abs=0.01)
    for share in (0.0, 0.3, 0.5, 1.0):
        assert magnitude(layers.mp_sum(a, b, share)) == pytest.approx(1.0, abs=0.01)


def test_joined_channels_keep_the_magnitude_and_contribute_alike():
    a, b = normal(4096, 8), normal(4096, 24, seed=1)
    both = layers.mp_cat(a, b)
    assert both.shape == (4096, 32)
    assert magnitude(both) == pytest.approx(1.0, abs=0.01)
    of_a, of_b = (float(jnp.sum(part**2)) for part in (both[:, :8], both[:, 8:]))
    assert of_a == pytest.approx(of_b, rel=0.05)


def test_pixels_are_normalised():
    x = 7.0 * normal(4, 4, 32)
    size = jnp.sqrt(jnp.mean(layers.normalised(x) ** 2, -1))
    np.testing.assert_allclose(size, 1.0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "side"), [((64,), 1), ((16, 16, 32), 1), ((16, 16, 32), 3)])
def test_weights_are_normalised_where_they_are_used(shape, side):
    module, x = layers.Linear(512, side), normal(*shape)
    params = module.init(jax.random.key(0), x)
    out = module.apply(params, x)
    inner = out if len(shape) == 1 else out[1:-1, 1:-1]  # beyond the edge there is nothing
    assert magnitude(inner) == pytest.approx(magnitude(x), rel=0.1)
    louder = jax.tree.map(lambda kernel: 50.0 * kernel, params)
    np.testing.assert_allclose(module.apply(louder, x), out, atol=2e-3)
    np.testing.assert_allclose(module.apply(params, x, 0.25), 0.25 * out, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_noise_level_has_unit_features_that_are_not_trained():
    module = layers.Fourier(4096)
    params = module.init(jax.random.key(0), 0.0)
    for t in (-1.5, 0.2):
        assert magnitude(module.apply(params, t)) == pytest.approx(1.0, abs=0.05)
    moved = jax.grad(lambda params: module.apply(params, 0.3).sum())(params)
    assert all(not leaf.any() for leaf in jax.tree.leaves(moved))


def test_resampling_is_by_two():
    x = normal(4, 6, 2)
    np.testing.assert_allclose(layers.halved(layers.doubled(x)), x, rtol=1e-6)
    np.testing.assert_allclose(layers.halved(x)[1, 2], x[2:4, 4:6].mean((0, 1)), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_a_fresh_network_keeps_magnitudes_all_the_way():
    module = EDM2(widths=(64, 128), attention=(False, True), blocks=2, head=32, classes=5)
    x = normal(16, 16, 4)
    params = initialise(module, jax.random.key(0), x.shape)
    params["params"]["gain"] = jnp.ones(())
    watched = {
        "capture_intermediates": lambda module, _: isinstance(module, Block),
        "mutable": ["intermediates"],
    }
    out, kept = jax.jit(lambda params: module.apply(params, x, 0.3, 2, **watched))(params)
    blocks = kept["intermediates"]
    found = {name: magnitude(seen["__call__"][0]) for name, seen in blocks.items()}
    assert len(found) == 2 * (2 + 3) + 2 + 2
    assert all(0.7 < value < 1.3 for value in found.values()), found
    assert 0.7 < magnitude(out) < 1.3


# --- published arrays ------------------------------------------------------------------------


def test_every_array_is_used_exactly_once():
    marked = {
        name: np.full(value.shape, 1.0 + n) for n, (name, value) in enumerate(PUBLISHED.items())
    }
    found = edm2_weights.convert(marked, head=tiny.HEAD).params
    leaves = [np.unique(leaf) for leaf in jax.tree.leaves(found)]
    assert all(len(leaf) == 1 for leaf in leaves)
    assert sorted(float(leaf[0]) for leaf in leaves) == sorted(
        marked[name].flat[0] for name in USED
    )


def test_what_the_network_is_was_read_off_the_arrays(converted):
    assert converted.shape == (8, 8, 4)
    assert converted.fields == {
        "widths": (16, 24),
        "blocks": 1,
        "attention": (False, True),
        "head": 8,
        "classes": 3,
        "sigma_data": 0.5,
    }
    assert size(converted.params) == sum(PUBLISHED[name].size for name in USED)


CHANGES = {
    "first convolution": (
        {"unet.enc.8x8_conv.weight": None},
        "unet.enc.8x8_conv.weight is missing",
    ),
    "gain": ({"unet.dec.4x4_in1.emb_gain": None}, "unet.dec.4x4_in1.emb_gain is missing"),
    "a block's own": ({"unet.enc.8x8_block0.emb_gain": None}, "8x8_block0.emb_gain is missing"),
    "of attention": ({"unet.enc.4x4_block0.attn_qkv.weight": None}, "attn_qkv.weight is missing"),
    "width": ({"unet.enc.4x4_block0.conv_res1.weight": None}, "4x4_block0.conv_res1.weight is mis"),
    "output": ({"unet.out_conv.weight": None}, "unet.out_conv.weight is missing"),
    "extra": ({"unet.enc.8x8_block0.bias": np.zeros(3)}, "unet.enc.8x8_block0.bias is of no use"),
    "extra block": ({"unet.dec.8x8_block7.emb_gain": np.zeros(())}, "8x8_block7.emb_gain is of no"),
    "shape": (
        {"unet.enc.8x8_block0.conv_res0.weight": np.zeros((16, 8, 3, 3))},
        r"conv_res0.weight of shape \(16, 16, 3, 3\), got \(16, 8, 3, 3\)",
    ),
    "axes": ({"unet.out_conv.weight": np.zeros(4)}, r"of 2 or 4 axes, got shape \(4,\)"),
    "nan": ({"unet.emb_noise.weight": np.full((24, 16), np.nan)}, "emb_noise.weight holds NaN"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_arrays_that_do_not_fit_are_named(name):
    changes, words = CHANGES[name]
    arrays = {key: value for key, value in (PUBLISHED | changes).items() if value is not None}
    with pytest.raises(ValueError, match=words) as caught:
        edm2_weights.convert(arrays, head=tiny.HEAD)
    assert "\n" not in str(caught.value)


def test_arrays_of_something_else_are_told():
    with pytest.raises(ValueError, match=r"published EDM2 network.*got a.weight and 1 more"):
        dg.models.from_edm2({"b.weight": np.zeros(3), "a.weight": np.zeros(3)})
    with pytest.raises(ValueError, match="divisible by head=64"):
        dg.models.from_edm2(PUBLISHED)
    with pytest.raises(ValueError, match="no option 'heads': did you mean 'head'"):
        dg.models.from_edm2(PUBLISHED, heads=8)


@pytest.mark.parametrize("name", ["net.pkl", "net.safetensors", "net.pt"])
def test_pickles_are_refused_with_the_way_out(tmp_path, name):
    file = tmp_path / name
    file.write_bytes(pickle.dumps({"ema": 1}))
    with pytest.raises(ValueError, match=r"is a pickle.*state_dict.*save_file") as caught:
        dg.models.from_edm2(file)
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        dg.models.save_edm2(tmp_path / "none.safetensors", tmp_path / "model")
    (tmp_path / "half.safetensors").write_bytes(b"\x80" + bytes(7) + b"{")
    with pytest.raises(ValueError, match="damaged"):
        dg.models.from_edm2(tmp_path / "half.safetensors")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
@pytest.mark.parametrize("half", [True, False])
def test_a_file_becomes_a_model_folder(tmp_path, half):
    kind = np.float16 if half else np.float32
    stored = {name: np.asarray(value, kind) for name, value in PUBLISHED.items()}
    save_file(stored, tmp_path / "net.safetensors")
    dg.models.save_edm2(tmp_path / "net.safetensors", tmp_path / "net", head=tiny.HEAD)
    card = json.loads((tmp_path / "net" / "card.json").read_text())
    assert card["storage"] == ("float16" if half else "float32")  # whichever loses nothing
    loaded = dg.models.load(tmp_path / "net")
    again = edm2_weights.convert(stored, head=tiny.HEAD).params
    jax.tree.map(np.testing.assert_array_equal, loaded.params.weights, again)
    assert loaded.interval == pytest.approx([-2 * np.log(80.0), -2 * np.log(0.002)])
    assert loaded.classes == range(-1, 3)


# --- as a flow -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_class_changes_the_score_and_another_is_refused(flow):
    x, score = normal(8, 8, 4), jax.jit(lambda flow, x: flow.score(x, 0.5))
    outs = [score(flow.given(label), x) for label in (-1, 0, 1, 2)]
    assert len({float(out.sum()) for out in outs}) == 4
    assert all(np.isfinite(out).all() for out in outs)
    for label in (3, -2):
        with pytest.raises(ValueError, match=f"a class from -1 to 2, got {label}"):
            flow.given(label)
        outside = flow.params._replace(condition=jnp.asarray(label, jnp.int32))
        assert np.isnan(score(flow.replace(params=outside), x)).all()  # nor where it is traced


def test_fields_and_labels_that_cannot_work_are_one_clear_line():
    key, small = jax.random.key(0), {"widths": [8, 16], "attention": [False, True], "head": 8}
    cases = [
        ({"attention": [True]}, (8, 8, 4), "widths and attention of equal length, got 2 and 1"),
        ({"head": 12}, (8, 8, 4), "divisible by head=12"),
        ({}, (7, 8, 4), "divisible by 2"),
        ({}, (2, 8, 8, 4), "jax.vmap"),
    ]
    for fields, shape, words in cases:
        with pytest.raises(ValueError, match=words):
            initialise(build("edm2", small | fields), key, shape)
    with pytest.raises(ValueError, match="classes=0"):
        build("edm2", small).init(key, normal(8, 8, 4), 0.0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_are_the_published_ones(name):
    module = build("edm2", {"widths": SIZES[name], "classes": 1000})
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), jnp.zeros((64, 64, 4)), jnp.zeros(()))
    )
    assert round(size(shapes) / 1e6) == MILLIONS[name]


@pytest.mark.slow
def test_verbs_run_on_it(flow):
    flow, key = flow.given(1), jax.random.key(0)
    options = {"divergence": dg.orthogonal(2), "key": key, "steps": 32}

    @jax.jit
    def run(flow, latent, q):
        return dg.sample(flow, latent, guidance=dg.quantile(q), **options)

    latent = dg.latent(flow, key)
    low, high = (run(flow, latent, q) for q in (0.4, 0.6))
    print(low.log_density, high.log_density, low.total_error)
    assert high.log_density > low.log_density + 10.0
    assert low.evaluations > 0
    found = jax.jit(lambda flow, x: dg.log_density(flow, x, **options))(flow, high.x)
    allowed = float(found.total_error + high.total_error)
    assert float(found.value) == pytest.approx(float(high.log_density), abs=allowed)
    mixed = dg.classifier_free(flow, 1.5, negative=-1)
    out = jax.jit(lambda flow, x: dg.sample(flow, x, divergence=None, steps=8).x)(mixed, latent)
    assert np.isfinite(out).all()


@pytest.mark.slow
def test_half_precision_stays_near(converted):
    x = normal(8, 8, 4)
    outs = {
        dtype: jax.jit(build("edm2", converted.fields | {"dtype": dtype}).apply)(
            converted.params, x, 0.5, 1
        )
        for dtype in ("float32", "float16")
    }
    assert outs["float16"].dtype == jnp.float32
    np.testing.assert_allclose(outs["float16"], outs["float32"], atol=0.02)
