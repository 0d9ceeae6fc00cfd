"""The interpolation strip is tested for what it draws, not for pixels."""

import numpy as np
import pytest

from densityguide import plotting

RNG = np.random.default_rng(0)


def test_a_strip_holds_every_frame_with_its_caption_below():
    rows = [RNG.integers(0, 17, (5, 8, 8, 1), np.uint8) for _ in range(2)]
    captions = [(f"{n},000", "log-SNR 3.0") for n in range(5)]
    page = plotting.strip(rows, captions, 17, names=("decoded", "denoised"), title="way")
    pixels = np.asarray(page.convert("L"), float)
    seen = 0
    for row in rows:
        for frame in row:
            # 14 pixels a pixel: look for the frame's own values at the middle of each.
            wanted = np.rint(frame[..., 0] * (255.0 / 16))
            for top in range(74, page.height - 112):
                line = pixels[top + 7, :]
                starts = np.flatnonzero(line == wanted[0, 0])
                if any(_matches(pixels, wanted, top, left - 7) for left in starts):
                    seen += 1
                    break
    assert seen == 10
    plain = plotting.strip(rows[:1], captions, 17, title="way")
    assert plain.height < page.height
    assert page.width == plain.width == max(640, 2 * 28 + 5 * 120 - 8)


def _matches(pixels, wanted, top, left):
    if left < 0 or left + 112 > pixels.shape[1]:
        return False
    return np.array_equal(pixels[top + 7 : top + 112 : 14, left + 7 : left + 112 : 14], wanted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.strip([np.zeros((2, 8, 8))], [], 17, title=""), "rows .* of one shape"),
        (lambda: plotting.strip([np.zeros((2, 8, 8, 1))], [], 17, title=""), "each of 2 frames"),
        (
            lambda: plotting.strip([np.zeros((1, 8, 8, 1))], [()], 17, names="ab", title=""),
            "one for each row",
        ),
    ],
)
def test_bad_strips_are_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
