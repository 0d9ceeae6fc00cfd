"""One answer on any number of devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide import parallel
from densityguide.flow import worlds
from densityguide.steer import sample as sampling

HERE = Path(__file__).parent


def report_of(devices: int) -> dict:
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [sys.executable, HERE / "devices.py", str(devices)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def one():
    return report_of(1)


@pytest.mark.slow
def test_devices_agree_bit_for_bit(one):
    many = report_of(8)
    trained = many.pop("trained")
    assert len(many) == 13
    assert many == {key: one[key] for key in many}
    np.testing.assert_allclose(trained, one["trained"], rtol=1e-6)


@pytest.mark.slow
def test_equals_a_plain_loop(one):
    """In float64 within 1e-9 in every field of the result; a search for a root, which ends where it
    is near enough, within 1e-6."""
    loops = {key: value for key, value in one.items() if "loop" in key}
    assert len(loops) == 5
    assert all(loops[key] < (1e-6 if key.startswith("landed") else 1e-9) for key in loops), loops


def double(shared, x):
    return {"sum": shared + x["a"], "index": x["b"]}


def test_any_number_of_samples_and_one_program():
    calls = chex.assert_max_traces(n=1)(double)
    many = parallel.pmap(calls, block=3)
    for count in (1, 2, 3, 7, 9):
        given = {"a": np.arange(count * 2.0).reshape(count, 2), "b": np.arange(count)}
        out = many(np.float32(1.0), given)
        assert isinstance(out["sum"], np.ndarray)
        np.testing.assert_array_equal(out["sum"], given["a"] + 1.0)
        np.testing.assert_array_equal(out["index"], given["b"])


def test_no_samples_give_empty_arrays_of_the_right_shape():
    out = parallel.pmap(double)(1.0, {"a": np.zeros((0, 5), np.float32), "b": np.zeros(0, int)})
    assert out["sum"].shape == (0, 5)


def test_arrays_given_are_not_donated():
    x = jnp.ones((4, 3))
    many = parallel.pmap(lambda shared, x: shared * x, block=4)
    np.testing.assert_array_equal(many(2.0, x), 2.0)
    np.testing.assert_array_equal(x, 1.0)


def test_replicated_weights_are_not_copied_again():
    flow = parallel.replicate(worlds.gaussian(jnp.zeros(2), jnp.eye(2)))
    again = parallel.replicate(flow)
    for first, second in zip(jax.tree.leaves(flow), jax.tree.leaves(again), strict=True):
        assert first.unsafe_buffer_pointer() == second.unsafe_buffer_pointer()


def test_stream_works_ahead():
    """Results of a block come out after later blocks were handed to the devices."""
    asked = []

    def blocks():
        for number in range(4):
            asked.append(number)
            yield (np.full((2,), number, np.float32),)

    results = parallel.stream(lambda shared, x: shared + x, 1.0, blocks())
    for number, out in enumerate(results):
        np.testing.assert_array_equal(out, number + 1.0)
        assert len(asked) >= min(number + 2, 4)


def test_equal_to_vmap():
    flow = worlds.gaussian(jnp.zeros(2), jnp.eye(2))
    keys = jax.random.split(jax.random.key(0), 5)

    def draw(flow, key):
        return sampling.sample(flow, sampling.latent(flow, key), steps=4).x

    batch = jax.jit(jax.vmap(draw, (None, 0)))(flow, keys)
    np.testing.assert_allclose(parallel.pmap(draw)(flow, keys), batch, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parallel.pmap(double, block=0), "block must be"),
        (lambda: parallel.pmap(double)(1.0), "expected arrays of samples"),
        (lambda: parallel.pmap(double)(1.0, {"a": 1.0}), "same leading axis"),
        (lambda: parallel.pmap(double)(1.0, [np.zeros(2), np.zeros(3)]), "same leading axis"),
        (lambda: parallel.pmap(double, devices=[])(1.0, np.zeros(2)), "devices is empty"),
        (lambda: parallel.together(double, devices=[]), "devices is empty"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
