"""The laws of the built-in sets that are made here: patches of photographs, shapes in the plane."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide import data
from densityguide.data import photos, shapes


def test_no_held_out_pixel_of_a_photograph_is_in_training(monkeypatch):
    """With every pixel's own number as its colour, the two sides have none in common."""
    bytes_of = np.asarray([1, 256, 65536])

    def numbered(name):
        places = np.arange(427 * 640).reshape(427, 640, 1) + (name == "flower.jpg") * 427 * 640
        return (places // bytes_of % 256).astype(np.uint8)

    monkeypatch.setattr("sklearn.datasets.load_sample_image", numbered)
    monkeypatch.setattr(photos, "STRIDES", {1: 4})
    patches, mask = photos.read()
    assert patches.shape[1:] == (16, 16, 3)
    assert 0.05 < mask.mean() < 0.15
    numbers = sum(patches[..., i].astype(np.int32) * n for i, n in enumerate(bytes_of.tolist()))
    hits = [np.bincount(numbers[mask == held].reshape(-1)) for held in (False, True)]
    seen, kept = (np.flatnonzero(counts) for counts in hits)
    assert len(seen) > 400_000
    assert len(kept) > 20_000
    assert not np.intersect1d(seen, kept).size


def test_photographs_at_half_size_keep_to_the_same_tiles():
    found = data.load("photos16")
    assert found.shape == (16, 16, 3)
    assert found.levels == 256
    assert len(found.train) > 40_000
    assert "CC BY" in found.licence
    for name in ("china.jpg", "flower.jpg"):
        mask = photos.tiles(name, 427, 640)
        np.testing.assert_array_equal(mask[:426:2, ::2], mask[1:427:2, 1::2])


@pytest.mark.parametrize("name", shapes.NAMES)
def test_points_follow_the_density_of_the_mixture(name):
    """Mean log p of the held-out points is minus the entropy of the mixture, and smooth along the
    curve: between two centres as dense as at one."""
    found = data.load(name)
    assert found.train.dtype == np.float32
    assert found.transform is None
    assert found.checksum == data.load(name).checksum
    middle = shapes.centres(name)
    assert np.abs(middle).max() <= 1.0
    world = dg.worlds.mixture(
        np.full(len(middle), 1 / len(middle)), middle, np.full((len(middle), 1), shapes.SPREAD)
    )
    log_p = jax.jit(jax.vmap(lambda x: world.log_density(x, world.interval[1])))
    measured = np.asarray(log_p(jnp.asarray(found.heldout)))
    again = middle[np.arange(4000) * 7919 % len(middle)] + shapes.SPREAD * np.asarray(
        jax.random.normal(jax.random.key(0), (4000, 2))
    )
    expected = np.asarray(log_p(jnp.asarray(again, jnp.float32)))
    noise = np.hypot(measured.std(), expected.std()) / 4000**0.5
    assert abs(measured.mean() - expected.mean()) < 4 * noise
    inside = slice(20, len(middle) // 2 - 20)
    between = 0.5 * (middle[inside] + np.roll(middle, -1, 0)[inside])
    gap = log_p(jnp.asarray(between, jnp.float32)) - log_p(jnp.asarray(middle[inside], jnp.float32))
    assert np.abs(gap).max() < 0.05
