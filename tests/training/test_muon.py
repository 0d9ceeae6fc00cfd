"""Muon against the same equations in NumPy, and what the trainer makes of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file
from tiny import TINY

from densityguide.models import weights
from densityguide.models.build import build, initialise
from densityguide.training import export, train
from densityguide.training.config import Optimiser, from_dict
from densityguide.training.optimiser import learning_rate, optimiser, rules
from densityguide.training.step import flipped, initial_state

PLAN = Optimiser(kind="muon", steps=20, decay=10, warmup=4, learning_rate=0.01, weight_decay=0.1)
MUON = dataclasses.replace(
    TINY, optimiser=dataclasses.replace(TINY.optimiser, kind="muon", profiles=(0.5, 0.9))
)


def orthogonalised(matrix):
    u = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = u @ u.T
        u = 3.4445 * u + (-4.7750 * square + 2.0315 * square @ square) @ u
    return u


def reference(kernel, gradients, plan):
    """Muon's own equations, in float64, on one kernel: [..., rows, columns] as one matrix."""
    w = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    m = np.zeros_like(w)
    for step, g in enumerate(gradients):
        g = np.asarray(g, np.float64).reshape(w.shape)
        m = 0.95 * m + 0.05 * g
        u = 0.95 * m / (1 - 0.95 ** (step + 2)) + 0.05 * g / (1 - 0.95 ** (step + 1))
        u = 0.2 * max(w.shape) ** 0.5 * orthogonalised(u)
        w = w - float(learning_rate(plan)(step)) * (u + plan.weight_decay * w)
    return w.reshape(kernel.shape)


@pytest.mark.parametrize("shape", [(3, 3, 8, 4), (4, 9), (20, 5)])
def test_steps_are_those_of_the_equations(shape):
    rng = np.random.default_rng(0)
    draw = lambda: jnp.asarray(rng.normal(size=shape) / 1e3, jnp.float32)  # noqa: E731
    params, gradients = {"kernel": draw()}, [draw() for _ in range(6)]
    rule = optimiser(PLAN)
    state, moved = rule.init(params), params
    for gradient in gradients:
        change, state = rule.update({"kernel": gradient}, state, moved)
        moved = optax.apply_updates(moved, change)
    wanted = reference(params["kernel"], gradients, PLAN)
    np.testing.assert_allclose(moved["kernel"], wanted, atol=2e-6)
    assert np.abs(wanted - np.asarray(params["kernel"])).max() > 1e-3


def test_a_step_has_even_singular_values_whatever_the_gradient_had():
    """Five iterations take every singular value above 1e-3 of the norm to between .6 and 1.3."""
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.normal(size=(size, 16)))[0] for size in (72, 16))
    gradient = jnp.asarray(left * np.geomspace(1.0, 0.01, 16) @ right.T, jnp.float32)
    params = {"kernel": jnp.zeros((3, 3, 8, 16))}
    plan = dataclasses.replace(PLAN, weight_decay=0.0, warmup=0, clip=1e9)
    rule = optimiser(plan)
    change, _ = rule.update({"kernel": gradient.reshape(3, 3, 8, 16)}, rule.init(params), params)
    step = np.asarray(change["kernel"]).reshape(72, 16) / (-0.01 * 0.2 * 72**0.5)
    values = np.linalg.svd(step, compute_uv=False)
    assert 0.6 < values.min() < values.max() < 1.3
    assert np.trace(step.T @ np.asarray(gradient)) > 0


@pytest.mark.slow
def test_ends_tables_biases_and_scales_are_left_to_adamw():
    fields = {"widths": [8], "blocks": [1], "attention": [True], "classes": 3, "embedding": 8}
    params = initialise(build("unet", fields), jax.random.key(0), (8, 8, 1))
    found = {
        "/".join(entry.key for entry in path[1:]): name
        for path, name in jax.tree_util.tree_leaves_with_path(rules(params))
    }
    for name in ("input/kernel", "output/kernel", "time/Embed_0/embedding", "down0_0/norm1/scale"):
        assert found[name] == "adamw"
    for name in ("down0_0/conv1/kernel", "attention0/qkv/kernel", "time/first/kernel"):
        assert found[name] == "muon"
    plan = dataclasses.replace(PLAN, b2=0.9)
    adamw = dataclasses.replace(plan, kind="adamw")
    gradient = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1e-4), params)
    ours, theirs = (
        rule.update(gradient, rule.init(params), params)[0]
        for rule in (optimiser(plan), optimiser(adamw))
    )
    for name, one, other in zip(
        jax.tree.leaves(rules(params)), jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True
    ):
        if name == "adamw":
            np.testing.assert_array_equal(one, other)


def same(a, b):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bits_and_keeps_its_optimiser(tmp_path):
    config = dataclasses.replace(MUON, flips=True)
    whole = train(config, tmp_path / "whole", progress=False)
    train(config, tmp_path / "parts", stop_at=3, progress=False)
    same(whole, train(config, tmp_path / "parts", progress=False))
    assert len(whole.profiles) == 2
    plain = dataclasses.replace(config, flips=False)
    with pytest.raises(ValueError, match=r"flips was True, is False"):
        train(plain, tmp_path / "parts", progress=False)
    for changes, words in [
        ({"kind": "adamw"}, "optimiser.kind was 'muon', is 'adamw'"),
        ({"profiles": (0.5,)}, r"optimiser.profiles was \(0.5, 0.9\)"),
    ]:
        other = dataclasses.replace(config.optimiser, **changes)
        with pytest.raises(ValueError, match=words):
            train(dataclasses.replace(config, optimiser=other), tmp_path / "parts", progress=False)


@pytest.mark.slow
def test_profiles_are_the_averages_that_a_run_of_their_decay_keeps(tmp_path):
    whole = train(MUON, tmp_path / "whole", progress=False)
    alone = dataclasses.replace(MUON.optimiser, ema=0.9, profiles=())
    alone = dataclasses.replace(MUON, optimiser=alone)
    same(whole.profiles[1], train(alone, tmp_path / "alone", progress=False).ema)
    model = tmp_path / "model"
    options = {"storage": "float32", "samples": 0, "calibration": 0}
    card = export(tmp_path / "whole", model, ema=0.9, **options)
    assert card.training["ema"] == 0.9
    same(weights.read(model / "weights.safetensors"), whole.profiles[1])
    with pytest.raises(ValueError, match=r"among the decays of the run, 0.5, 0.9, 0.999, got 0.7"):
        export(tmp_path / "whole", model, ema=0.7, **options)


@pytest.mark.slow
def test_a_run_begins_from_given_weights(tmp_path):
    config = dataclasses.replace(MUON, start=str(tmp_path / "start.safetensors"))
    given = initial_state(dataclasses.replace(MUON, seed=7), (8, 8, 1)).params
    weights.write(config.start, given, "float32")
    still = dataclasses.replace(config.optimiser, learning_rate=1e-30, weight_decay=0.0)
    state = train(dataclasses.replace(config, optimiser=still), tmp_path / "run", progress=False)
    for kept in (state.params, state.ema, *state.profiles):
        for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves(given), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-25)
    save_file({"a": np.zeros(3, np.float32)}, config.start)
    with pytest.raises(ValueError, match=r"expected in start the weights of the network"):
        train(config, tmp_path / "other", progress=False)


def test_flips_mirror_half_of_the_pictures_left_to_right():
    images = jnp.arange(200.0 * 2 * 3).reshape(200, 2, 3, 1)
    seen = np.asarray(flipped(images, jax.random.key(0)))
    kept = (seen == images).all((1, 2, 3))
    assert 0.35 < kept.mean() < 0.65
    np.testing.assert_array_equal(seen[~kept], images[~kept][:, :, ::-1])


def test_flips_of_points_are_refused(tmp_path):
    config = dataclasses.replace(TINY, data="spiral2d", flips=True)
    with pytest.raises(ValueError, match="expected pictures for flips, spiral2d has points"):
        train(config, tmp_path, progress=False)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"kind": "sgd"}, r"expected optimiser\.kind adamw or muon, got 'sgd'"),
        ({"profiles": [0.9, 1.0]}, r"expected optimiser\.profiles in \[0, 1\), got 1\.0"),
    ],
)
def test_impossible_settings_are_refused(table, words):
    with pytest.raises(ValueError, match=words):
        from_dict({"name": "a", "data": "digits8", "optimiser": table})
