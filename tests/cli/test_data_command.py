"""``densityguide data``: own pictures and points in, one line out for what is wrong."""

import numpy as np
import pytest
from PIL import Image

from densityguide import data


@pytest.fixture
def album(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "album"
    folder.mkdir()
    for index in range(60):
        pixels = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_pictures_become_a_file_that_trains(run, album):
    outcome = run("data", "images", album, "--shape", "8x8x1", "--out", "mine.npz")
    assert outcome.status == 0
    assert "8 x 8 x 1, uint8, 256 levels" in outcome.out
    straight, stored = data.load(str(album), shape=(8, 8, 1)), data.load("mine.npz")
    np.testing.assert_array_equal(straight.train, stored.train)
    np.testing.assert_array_equal(straight.heldout, stored.heldout)


def test_points_and_classes_are_kept(run):
    assert run("data", "points", "moons").status == 0
    np.testing.assert_array_equal(data.load("moons2d.npz").train, data.load("moons2d").train)
    assert "classes:  10" in run("data", "digits").out
    np.testing.assert_array_equal(data.load("digits8.npz").labels, data.load("digits8").labels)


def test_wrong_sources_are_one_line(run, album, tmp_path):
    assert "spiral, moons or rings" in run("data", "points", "square").line
    assert "--shape must be" in run("data", "images", album, "--shape", "8,8").line
    assert "expected shape = [H, W, 1]" in run("data", "images", album).line
    assert "does not exist" in run("data", "images", "absent/", "--shape", "8x8x1").line
    (album / "0.png").write_text("no picture")
    line = run("data", "images", album, "--shape", "8x8x1").line
    assert "0.png cannot be decoded" in line
    np.savez(tmp_path / "float.npz", images=np.zeros((9, 4, 4, 3)))
    assert "got images float64" in run("data", "images", "float.npz").line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "float.npz"]
