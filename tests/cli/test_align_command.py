"""``densityguide align``: pass rates of score alignment with their intervals."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.app import source
from densityguide.app.commands import blocks
from densityguide.verify.alignment_report import wilson_interval

pytestmark = pytest.mark.usefixtures("unoptimised")

OPTIONS = ("align", "--model", "world:mixture", "--steps", "24", "--seed", "2")


@pytest.mark.slow
def test_rates_intervals_and_arrays(run, tmp_path):
    np.save(tmp_path / "mask.npy", np.eye(12, dtype=np.float32)[0])
    directions = ("--direction", "score", "--direction", "mask.npy")
    outcome = run(*OPTIONS, "--count", "9", *directions, "--json", "--out", "a.npz")
    rows = json.loads(outcome.out)["directions"]
    arrays = np.load(tmp_path / "a.npz")
    assert arrays["value"].shape == (2, 9)
    assert list(arrays["direction"]) == ["score", "mask.npy"]
    for row, value in zip(rows, arrays["value"], strict=True):
        assert row["aligned"] == (value > 0).sum()
        low, high = wilson_interval(row["aligned"], 9)
        np.testing.assert_allclose([row["low"], row["high"]], [low, high], rtol=1e-6)
        np.testing.assert_allclose(row["quartiles_nats_per_unit"][1], np.median(value), rtol=1e-6)
    flow = source.load("world:mixture").flow
    latent = flow.prior.sample(jax.random.split(blocks.sample_keys(2, 0, 1)[0])[0])
    verb = dg.score_alignment(flow, latent, direction=jnp.eye(12)[0], steps=24)
    np.testing.assert_allclose(arrays["value"][1, 0], verb.value, rtol=1e-4)


@pytest.mark.slow
def test_derivatives_are_linear_in_the_direction(run, tmp_path):
    """The prior's score is -latent / sigma^2."""
    run(*OPTIONS, "--count", "9", "--direction", "score", "--direction", "latent", "--out", "a.npz")
    value = np.load(tmp_path / "a.npz")["value"]
    variance = float(source.load("world:mixture").flow.prior.scale) ** 2
    np.testing.assert_allclose(value[1], -variance * value[0], rtol=1e-3)


def test_table(run, tmp_path):
    outcome = run(*OPTIONS, "--count", "9")
    assert outcome.status == 0
    assert outcome.err == ""
    for word in ("9 latents", "95% interval", "cosine", "score", "steer", "Seconds"):
        assert word in outcome.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(12), "finite and not all zero"),
        (np.ones(11), "must hold numbers of the model's shape [12], got float64 of [11]"),
        (np.asarray(["a"] * 12), "must hold numbers"),
    ],
)
def test_bad_directions(run, tmp_path, array, words):
    np.save(tmp_path / "mask.npy", array)
    assert words in run(*OPTIONS, "--direction", "mask.npy").line
    assert [path.name for path in tmp_path.iterdir()] == ["mask.npy"]


def test_refusals(run, tmp_path):
    (tmp_path / "mine.npz").write_text("mine")
    assert "score, latent or a .npy" in run(*OPTIONS, "--direction", "up").line
    assert "does not exist" in run(*OPTIONS, "--direction", "absent.npy").line
    assert "did not write" in run(*OPTIONS, "--out", "mine.npz").line
    assert (tmp_path / "mine.npz").read_text() == "mine"
