"""The picture of README: one latent a row, and the numbers over its columns."""

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import densityguide as dg

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import strip


def test_every_picture_is_in_its_place():
    images = np.zeros((2, 3, 4, 4, 3), np.uint8)
    images[1, 2] = (200, 10, 20)
    sheet = strip.page(images, ("floor", "wall"), (0.1, 0.5, 0.9), np.ones((2, 3)))
    x, y = strip.LEFT + 2 * (strip.SIDE + strip.GAP), strip.TOP + strip.SIDE + strip.GAP
    assert sheet.getpixel((x + 5, y + 5)) == (200, 10, 20)
    assert sheet.getpixel((strip.LEFT + 5, y + 5)) == (0, 0, 0)
    assert sheet.size == (x + strip.SIDE + strip.GAP + strip.MARGIN, y + strip.SIDE + 24)


def test_the_committed_one_is_small_and_whole():
    file = Path(strip.__file__).with_name("dial-strip.png")
    assert file.stat().st_size < 500_000
    classes = len(dg.data.load("tiles32").classes)
    height = strip.TOP + classes * (strip.SIDE + strip.GAP) + strip.MARGIN
    assert Image.open(file).height == height


@pytest.mark.slow
def test_log_p_rises_along_every_row():
    images, bits, error = strip.draw(dg.models.load("tiles32"), 2, (0.1, 0.5, 0.9), 12)
    assert images.shape == (2, 3, 32, 32, 3)
    assert images.dtype == np.uint8
    assert (np.diff(bits, axis=1) < 0).all()
    assert jnp.isfinite(error).all()
