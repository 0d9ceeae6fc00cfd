from pathlib import Path

import numpy as np
import pytest

from densityguide import data
from densityguide.data import emoji

needs_font = pytest.mark.skipif(
    not Path(emoji.FONT).is_file(), reason="needs Debian's fonts-noto-color-emoji"
)


def test_digits_are_split_without_shared_images():
    digits = data.load("digits8")
    assert digits.shape == (8, 8, 1)
    assert digits.levels == 17
    assert digits.train.dtype == np.uint8
    assert digits.train.max() == 16
    assert 0.03 < len(digits.heldout) / (len(digits.heldout) + len(digits.train)) < 0.08
    seen = {image.tobytes() for image in digits.train}
    assert not any(image.tobytes() in seen for image in digits.heldout)


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'emoji32'"):
        data.load("emoji64")


def test_missing_font_gives_advice(tmp_path):
    with pytest.raises(FileNotFoundError, match="fonts-noto-color-emoji or pass --font FILE"):
        data.load("emoji32", tmp_path / "none.ttf")


def test_file_that_is_no_font_is_one_line(tmp_path):
    wrong = tmp_path / "wrong.ttf"
    wrong.write_bytes(b"not a font at all")
    with pytest.raises(ValueError, match="expected a TrueType font") as caught:
        data.load("emoji32", wrong)
    assert "\n" not in str(caught.value)
    assert str(wrong) in str(caught.value)


@pytest.mark.parametrize("tone", [0x1F3FB, 0x1F3FD, 0x1F3FF])
def test_skin_tones_share_a_group(tone):
    assert emoji.group_of((0x1F44B, tone)) == emoji.group_of((0x1F44B,))
    couple = (0x1F9D1, tone, 0x200D, 0x2764, 0xFE0F, 0x200D, 0x1F9D1, 0x1F3FE)
    assert emoji.group_of(couple) == emoji.group_of((0x1F491, tone))


def test_a_lone_skin_tone_keeps_its_own_group():
    assert emoji.group_of((0x1F3FB,)) == (0x1F3FB,)


def test_held_out_fraction_is_about_right():
    share = np.mean([emoji.held_out((code,), 0.05) for code in range(20000)])
    assert abs(share - 0.05) < 0.006


@pytest.mark.slow
@needs_font
def test_emoji_split_is_disjoint_by_group_and_reproducible():
    images, groups = emoji.read()
    dataset = data.load("emoji32")
    mask = np.asarray([emoji.held_out(group) for group in groups])
    kept = {group for group, held in zip(groups, mask, strict=True) if not held}
    assert kept.isdisjoint({group for group, held in zip(groups, mask, strict=True) if held})
    np.testing.assert_array_equal(dataset.heldout, images[mask])
    assert dataset.shape == (32, 32, 3)
    assert dataset.train.dtype == np.uint8
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images) > 1000
    assert data.checksum(images) == dataset.checksum
    assert (images[:, 0, 0] == 255).all(-1).mean() > 0.5, "composited on white"
