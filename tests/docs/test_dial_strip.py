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


def test_the_committed_one_is_small_and_whole():
    file = Path(strip.__file__).with_name("dial-strip.png")
    assert file.stat().st_size < 500_000
    names = dg.data.load("tiles32").classes
    images = np.zeros((len(names), len(strip.QUANTILES), 32, 32, 3), np.uint8)
    drawn = strip.page(images, names, np.ones(images.shape[:2]))
    assert Image.open(file).size == drawn.size


@pytest.mark.slow
def test_log_p_rises_along_every_row():
    images, bits, error = strip.draw(dg.models.load("tiles32"), 2, (0.1, 0.5, 0.9), 12)
    assert images.shape == (2, 3, 32, 32, 3)
    assert images.dtype == np.uint8
    assert (np.diff(bits, axis=1) < 0).all()
    assert jnp.isfinite(error).all()
