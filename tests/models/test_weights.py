import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide.models import card as cards
from densityguide.models import pretrained, weights

PARAMS = {"params": {"a": {"kernel": jnp.linspace(-2, 2, 12).reshape(3, 4)}, "b": jnp.ones(2)}}


@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 0.0), ("float16", 1e-3)])
def test_round_trip(tmp_path, storage, tolerance):
    digest = weights.write(tmp_path / "w.safetensors", PARAMS, storage)
    back = weights.read(tmp_path / "w.safetensors", digest)
    assert jax.tree.structure(back) == jax.tree.structure(PARAMS)
    for ours, theirs in zip(jax.tree.leaves(back), jax.tree.leaves(PARAMS), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=tolerance)


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty", "header"])
def test_damaged_file_is_one_line(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    weights.write(path, PARAMS, "float32")
    whole = path.read_bytes()
    path.write_bytes(
        {
            "truncate": whole[:-5],
            "garbage": b"\x00\xff" * 40,
            "empty": b"",
            "header": whole[:9] + b"!!!!" + whole[13:],
        }[damage]
    )
    with pytest.raises(ValueError, match="damaged") as caught:
        weights.read(path)
    assert "damaged" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_flipped_bit_is_caught_by_the_checksum(tmp_path):
    path = tmp_path / "w.safetensors"
    digest = weights.write(path, PARAMS, "float32")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        weights.read(path, digest)


def test_values_that_overflow_storage_are_refused(tmp_path):
    with pytest.raises(ValueError, match="use float32"):
        weights.write(tmp_path / "w", {"a": jnp.asarray([1e6])}, "float16")
    with pytest.raises(ValueError, match="float16 or float32"):
        weights.write(tmp_path / "w", {"a": jnp.ones(1)}, "int8")


def test_missing_files_and_names(tmp_path):
    with pytest.raises(FileNotFoundError):
        weights.read(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        cards.read(tmp_path / "none")
    with pytest.raises(ValueError, match="export the training run first"):
        pretrained.load(tmp_path)
    with pytest.raises(ValueError, match="unknown model 'nonesuch'"):
        pretrained.load("nonesuch")


def test_damaged_card_is_one_line(tmp_path):
    for text in ("{", "{}", "[]", json.dumps({"shape": [1], "log_snr": [0, 1], "colour": 1})):
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(ValueError, match="damaged") as caught:
            cards.read(tmp_path / "card.json")
        assert "damaged" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", pretrained.names())
def test_shipped_models_load_and_denoise(name):
    module, params, card = pretrained.load(name)
    out = jax.jit(module.apply)(params, jnp.zeros(card.shape), 0.0)
    assert out.shape == card.shape
    assert bool(jnp.isfinite(out).all())
    size = (pretrained.folder_of(name) / "weights.safetensors").stat().st_size
    assert size <= 10e6
    assert card.parameters <= 5_000_000
    assert card.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    rows = card.evaluation["heldout_error_of_x0"]
    assert len(rows) >= 8
    # A picture takes shape at middle levels; a curve in the plane shows only once it is sharp.
    low, high = (-1, 3) if card.transform["levels"] else (4, 8)
    middle = [row["ratio"] for row in rows if low <= row["log_snr"] <= high]
    bar = 0.8 if card.transform["levels"] else 0.9
    assert np.mean(middle) < bar, "the network should beat the best linear denoiser clearly"
