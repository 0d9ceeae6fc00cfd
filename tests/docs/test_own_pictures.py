"""The first picture of README: the log-densities below its pictures, and their order."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import densityguide as dg

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import own

GIVEN = np.asarray(dg.data.load("tiles32").heldout)[list(own.CHOSEN)]


def test_the_committed_one_is_small_and_whole():
    file = Path(own.__file__).with_name("own-pictures.png")
    assert file.stat().st_size < 300_000
    images = np.zeros((len(own.QUANTILES), *GIVEN.shape), np.uint8)
    drawn = own.page(GIVEN, images, np.ones(images.shape[:2]))
    assert Image.open(file).size == drawn.size


@pytest.mark.slow
def test_log_p_rises_along_every_row_and_the_middle_is_what_was_given():
    images, bits, error = own.draw(dg.models.load("tiles32"), GIVEN[:1], (0.1, 0.5, 0.9), 40)
    assert images.shape == (3, 1, 32, 32, 3)
    assert (np.diff(bits, axis=0) < 0).all()
    assert np.isfinite(error).all()
    off = np.abs(images[1].astype(int) - GIVEN[:1]).mean()
    assert off < 1.0  # of 255: what the steps of the solver leave
    assert off < 0.3 * np.abs(images[[0, 2]].astype(int) - GIVEN[:1]).mean()
