"""The accelerator's script, rehearsed in miniature, and what it counts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from studies import device
from studies.device import errors, speed, subjects


def test_probes_are_the_same_in_every_precision():
    key, index = jax.random.key(0), jnp.asarray(3)
    single = errors.signs(key, index, 1, 2, (5, 4), jnp.float32)
    with jax.enable_x64(True):
        double = errors.signs(key, index, 1, 2, (5, 4), jnp.float64)
    np.testing.assert_array_equal(single, double)
    assert (double.dtype, set(np.unique(double))) == (np.float64, {-1.0, 1.0})


def test_operations_are_those_of_the_network():
    width, deep = 32, subjects.SIZES["DiT, tiny"]["depth"]
    evaluation, tangent = speed.operations(subjects.load("DiT, tiny"))
    # 64 tokens; 24 width^2 a token and block for its products (Peebles and Xie), attention beside.
    products = 64 * deep * 24 * width**2
    assert products < evaluation < 3 * products
    assert 0.7 * evaluation < tangent < 2.0 * evaluation


def test_a_folder_of_others_is_left_alone(tmp_path):
    (tmp_path / "theirs.txt").touch()
    with pytest.raises(ValueError, match="did not write"):
        device.run(tmp_path, small=True)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.txt"]
    mine = tmp_path / "mine"
    for _ in range(2):  # its own it takes again
        device.run(mine, small=True, seconds=0.0)


@pytest.mark.slow
def test_the_rehearsal_goes_on_where_it_was(tmp_path):
    device.run(tmp_path, small=True, seconds=0.0)
    assert not (tmp_path / "device.json").exists()
    found = device.run(tmp_path, small=True)
    kinds = [name.split(",")[0] for name in found["parts"]]
    assert kinds == ["errors", "repeatable", "speed"]
    assert found["parts"]["errors, spiral2d"][0]["RMS nats"] < 1e-3
    assert found["parts"]["repeatable"][0]["run again"]
    assert json.loads((tmp_path / "device.json").read_text()) == found
    page = (tmp_path / "device.md").read_text()
    assert page.count("DiT, tiny") == 1 + 3
    with pytest.raises(ValueError, match="choose another --out"):
        device.run(tmp_path, small=False)
