"""The picture of the dial is tested for what it holds, not for pixels."""

import numpy as np
import pytest

from densityguide import plotting
from densityguide.app.commands.sample_pictures import _turns_back
from densityguide.app.dial import Dial

X64 = False


def columns(count, rows, shape=(8, 8, 1), levels=17):
    """Every picture of one value of its own."""
    values = np.arange(count * rows).reshape(count, rows, 1, 1, 1) % (levels - 1) + 1
    return np.broadcast_to(values, (count, rows, *shape)).astype(np.uint8)


@pytest.mark.parametrize(("count", "shape"), [(2, (8, 8, 1)), (5, (8, 8, 1)), (7, (32, 32, 3))])
def test_every_picture_is_there_in_its_place(count, shape):
    images = columns(count, 2, shape)
    heads = [("q", "log p")] * count
    page = np.asarray(plotting.dial_strip(images, heads, 17, title="model", note="words " * 60))
    colours = np.rint(images[:, :, 0, 0, 0] * (255.0 / 16)).astype(np.uint8)
    places = np.zeros((count, 2, 2))
    for column in range(count):
        for row in range(2):
            y, x = np.nonzero((page == colours[column, row]).all(axis=-1))
            assert len(y) > 9000
            places[column, row] = np.median(y), np.median(x)  # letters count for little
    assert (np.diff(places[:, :, 1], axis=0) > 90).all()  # columns from left to right
    assert (np.diff(places[:, :, 0], axis=1) > 90).all()  # rows from top to bottom
    assert np.ptp(places[:, :, 0], axis=0).max() < 1.0
    assert page.shape[1] < 900


def test_a_long_note_makes_the_page_longer_and_not_wider():
    images, heads = columns(3, 2), [("q",)] * 3
    short = plotting.dial_strip(images, heads, 17, note="a word")
    long = plotting.dial_strip(images, heads, 17, note="a word " * 100)
    assert long.width == short.width
    assert long.height > short.height + 100


def test_long_heads_do_not_meet():
    images = columns(5, 2)
    narrow = plotting.dial_strip(images, [("q",)] * 5, 17)
    wide = plotting.dial_strip(images, [("budget -425.88 nats or so",)] * 5, 17)
    assert wide.width > narrow.width + 200


def test_what_was_given_stands_apart_and_captions_below_each_picture():
    images, heads = columns(3, 2), [("q",)] * 3
    plain = np.asarray(plotting.dial_strip(images, heads, 17))
    page = np.asarray(
        plotting.dial_strip(images, heads, 17, given=images[0], captions=[["x"] * 3] * 2)
    )
    shade = round(images[0, 0, 0, 0, 0] * 255 / 16)  # of the first row, given and at the first q
    x = np.unique(np.nonzero((page[150] == shade).all(axis=-1))[0])
    gaps = np.diff(x)[np.diff(x) > 1]
    assert len(gaps) == 1, "twice in the row, and nothing between"
    assert gaps[0] > page.shape[1] / 20
    assert page.shape[0] > plain.shape[0] + 30, "room for two captions"
    assert page.shape[1] > plain.shape[1] + 100


def test_a_caption_stands_right_below_its_own_picture():
    images, heads = columns(3, 2), [("q",)] * 3
    for row, column in ((0, 2), (1, 0), (1, 1)):
        words = [["", "", ""], ["", "", ""]]
        bare = np.asarray(plotting.dial_strip(images, heads, 17, captions=words), int)
        words[row][column] = "words"
        page = np.asarray(plotting.dial_strip(images, heads, 17, captions=words), int)
        y, x = np.nonzero(np.abs(page - bare).sum(axis=-1))
        shade = round(int(images[column, row, 0, 0, 0]) * 255 / 16)
        rows_of, columns_of = np.nonzero((page == shade).all(axis=-1))
        below = np.median(rows_of) + 144 / 2  # letters of the same grey count for little
        assert 0 < y.min() - below < 20
        assert abs(x.mean() - np.median(columns_of)) < 5


def rows(log_density, within=0.5):
    return [
        {"q": q, "log_density_nats": value, "measured_within_nats": within}
        for q, value in zip((0.1, 0.3, 0.5, 0.7), log_density, strict=True)
    ]


@pytest.mark.parametrize(
    ("log_density", "words"),
    [
        ((1.0, 2.0, 3.0, 4.0), ""),
        ((1.0, 5.0, 4.0, 3.0), " Beyond q 0.3 log p falls again."),
        ((1.0, 3.0, 2.0, 4.0), ""),  # the largest is the last
        ((1.0, 2.0, 4.0, 3.8), ""),  # within the errors
        ((1.0, np.nan, 4.0, 3.0), ""),
    ],
)
def test_the_grid_says_where_log_p_falls_again(log_density, words):
    assert _turns_back(Dial("q", (0.1,), (False,)), rows(log_density)) == words


@pytest.mark.parametrize(
    ("images", "heads", "names", "words"),
    [
        (np.zeros((2, 8, 8)), [(), ()], (), "columns .* of one shape"),
        (columns(2, 3), [()], (), "a head for each of 2 columns"),
        (columns(2, 3), [(), ()], ("a",), "none or 3 names, got 2 and 1"),
    ],
)
def test_bad_columns_are_one_line(images, heads, names, words):
    with pytest.raises(ValueError, match=words) as caught:
        plotting.dial_strip(images, heads, 17, names=names)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="no captions, or 3 rows of 2"):
        plotting.dial_strip(columns(2, 3), [(), ()], 17, captions=[["a", "b"]])
