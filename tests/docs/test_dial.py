"""The animation of README: drawn from samples, forth and back."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import densityguide as dg

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import dial


def test_it_sweeps_forth_and_back(tmp_path):
    qs = dial.eased(5)
    np.testing.assert_allclose([qs[0], qs[2], qs[-1]], [0.1, 0.5, 0.9], atol=1e-6)
    assert np.diff(qs)[0] < np.diff(qs)[1]
    images = np.arange(2 * 5 * 8 * 8 * 3).reshape(5, 2, 8, 8, 3) % 17
    frames = [
        dial.frame(row.astype(np.uint8), 17, q, np.asarray([4.0, 5.0]))
        for row, q in zip(images, qs, strict=True)
    ]
    dial.save(frames, tmp_path / "dial.gif")
    film = Image.open(tmp_path / "dial.gif")
    assert (film.n_frames, film.size) == (8, frames[0].size)
    assert film.info["loop"] == 0


def test_the_committed_one_is_small():
    film = Path(dial.__file__).with_name("dial.gif")
    assert film.stat().st_size < 1_000_000
    assert Image.open(film).n_frames > 10


@pytest.mark.slow
def test_larger_q_larger_log_p():
    images, bits, error = dial.sweep(dg.models.load("digits8"), dial.eased(3), 2, 12)
    assert images.shape == (3, 2, 8, 8, 1)
    assert images.dtype == np.uint8
    assert (np.diff(bits, axis=0) < 0).all()
    assert (error == 0).all()  # exact traces
