"""The page of the dial: what is in it is what was given, and nothing else."""

import base64
import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from densityguide import plotting

RNG = np.random.default_rng(0)
QS = (0.3, 0.4, 0.5, 0.6, 0.7)
SPRITE = re.compile(r'src="data:image/png;base64,([^"]*)"')


def made(levels=256, channels=3, shape=(5, 4, 8, 6), **more):
    """(what was given, the page)."""
    images = RNG.integers(0, levels, (*shape, channels))
    log_p = RNG.normal(-40.0, 3000.0, shape[:2])
    error = RNG.uniform(1.0, 9.0, shape[:2])
    return (images, log_p, error), plotting.dial(
        images, QS[: shape[0]], log_p, error, levels=levels, **more
    )


def record(page):
    """What the page's script reads."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.html, re.S)[1])


def pictures(page, shape):
    """Bytes [R, N, H, W, C], cut from the sprites as the script cuts them."""
    across, (count, _, height, width) = record(page)["across"], shape
    columns = []
    for sprite in SPRITE.findall(page.html):
        sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(sprite))))
        sheet = sheet.reshape(*sheet.shape[:2], -1)
        places = [divmod(n, across) for n in range(count)]
        tiles = [
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
            for row, column in places
        ]
        columns.append(tiles)
    return np.asarray(columns).swapaxes(0, 1)


@pytest.mark.parametrize(("levels", "channels"), [(256, 3), (256, 1), (17, 1), (2, 3)])
def test_every_picture_decodes_back_to_the_given_pixels(levels, channels):
    (images, _, _), page = made(levels, channels)
    seen = pictures(page, images.shape[:4])
    np.testing.assert_array_equal(np.rint(seen * ((levels - 1) / 255.0)), images)


def numbers(text):
    return [
        float(part)
        for part in re.findall(r"-?[\d.]+", text.replace("\u2212", "-").replace(",", ""))
    ]


def test_the_numbers_are_those_given():
    bits = RNG.uniform(1.0, 5.0, (5, 4))
    (_, log_p, error), page = made(bits_per_dim=bits)
    for n, place in enumerate(record(page)["places"]):
        assert place["label"] == f"q {QS[n]:g}"
        pairs = np.asarray([numbers(text) for text in place["nats"]])
        np.testing.assert_allclose(pairs, np.stack([log_p[n], error[n]], 1), atol=0.5)
        np.testing.assert_allclose([numbers(t)[0] for t in place["bits"]], bits[n], atol=0.005)
        q, mean, mean_bits = numbers(place["spoken"].replace("the plain model, ", ""))
        assert q == QS[n]
        np.testing.assert_allclose(mean, log_p[n].mean(), atol=0.5)
        np.testing.assert_allclose(mean_bits, bits[n].mean(), atol=0.005)
        assert place["spoken"].split(", ")[-2:] == place["mean"].removeprefix("mean ").split(", ")


def test_small_error_bars_are_not_rounded_to_nothing():
    shape = (2, 3, 4, 4, 1)
    page = plotting.dial(
        np.zeros(shape, int), (0.4, 0.6), np.full(shape[:2], -3.14), [[0.1] * 3] * 2
    )
    assert record(page)["places"][0]["nats"] == ["\u22123.1 \u00b1 0.1"] * 3


def test_the_slider_says_what_it_shows_before_any_script_runs():
    (_, log_p, _), page = made()
    start = record(page)["start"]
    assert QS[start] == 0.5
    tag = re.search(r"<input[^>]*>", page.html)[0]
    said = html.unescape(re.search(r'aria-valuetext="([^"]*)"', tag)[1])
    assert said == record(page)["places"][start]["spoken"]
    assert said.startswith("q 0.5, the plain model, log p ")
    assert numbers(said)[1] == round(log_p[start].mean())
    assert ('min="0"' in tag, 'max="4"' in tag, 'value="2"' in tag) == (True, True, True)


def test_the_curve_rises_with_the_mean():
    (_, log_p, _), page = made()
    heights = [place["y"] for place in record(page)["places"]]
    np.testing.assert_allclose(np.corrcoef(heights, log_p.mean(1))[0, 1], -1.0, atol=1e-4)
    dots = re.findall(r'class="dot" cx="([\d.]+)%" cy="([\d.]+)"', page.html)
    np.testing.assert_allclose(
        np.asarray(dots, float), np.stack([[0, 25, 50, 75, 100], heights], 1)
    )


@pytest.mark.parametrize("rising", [True, False])
def test_numbers_at_the_ends_stand_where_the_curve_does_not_go(rising):
    """On a phone the second of many dots is nearer than the number is wide."""
    from densityguide.plotting import dial_curve

    values = [100.0 * n**1.5 for n in range(11)]
    heights = dial_curve.heights(values if rising else values[::-1])
    places = [
        {"label": f"q {n}", "x": 10.0 * n, "y": y, "value": f"{n},000", "mean": ""}
        for n, y in enumerate(heights)
    ]
    drawn = dial_curve.svg(places, None)
    texts = re.findall(r'<text x="([\d.]+)%" y="([\d.]+)"', drawn)
    for (x, baseline), near in zip(texts, ((0, 1), (10, 9)), strict=True):
        own, other = (places[n] for n in near)
        assert float(x) == own["x"]
        up = float(baseline) < own["y"]
        assert up == (other["y"] > own["y"])
        assert abs(float(baseline) - own["y"]) < 18
        assert 10 < float(baseline) < dial_curve.FLOOR


def test_the_page_asks_nothing_of_any_other_place():
    page = made()[1]
    bare = SPRITE.sub("", page.html)
    assert "http" not in bare
    assert "//" not in re.sub(r"(?m) // .*$|^\s*//.*$", "", bare)  # comments of the script
    assert set(re.findall(r'(?:src|href)="([^"]*)"', bare)) == {"data:,"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|WebSocket|import\(", bare)


HOSTILE = "</script></title><script>alert(1)</script>\"'&<!-- $$title ${data} \u2028"


def test_hostile_words_stay_words():
    images = np.zeros((2, 1, 4, 4, 1), int)
    plain = plotting.dial(images, ("a", "b"), [[1.0]] * 2, [[1.0]] * 2)
    page = plotting.dial(images, (HOSTILE, HOSTILE), [[1.0]] * 2, [[1.0]] * 2, title=HOSTILE)
    for tag in ("<script", "</script", "<title", "</title", "<!--", "<input", "<svg"):
        assert page.html.count(tag) == plain.html.count(tag), tag
    assert record(page)["places"][0]["label"] == HOSTILE
    assert html.unescape(re.search(r"<h1>(.*?)</h1>", page.html, re.S)[1]) == HOSTILE
    frame = page._repr_html_()
    assert re.findall(r"<\w+", frame) == ["<iframe"]
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == page.html


def test_failures_are_said_and_left_out_of_the_mean():
    images = np.zeros((3, 3, 4, 4, 1), int)
    log_p = np.asarray([[1.0, 3.0, np.nan], [np.inf, np.nan, -np.inf], [5.0, 6.0, 7.0]])
    page = plotting.dial(images, QS[:3], log_p, np.ones((3, 3)), bits_per_dim=-log_p)
    first, second, third = record(page)["places"]
    assert first["nats"][2] == "failed"
    assert first["failed"] == [False, False, True]
    assert first["mean"] == "mean log p 2 nats, \u22122.00 bits/dim, over 2 of 3 pictures"
    assert second["mean"] == "every picture failed"
    assert second["y"] is None
    assert third["mean"] == "mean log p 6 nats, \u22126.00 bits/dim"
    assert page.html.count('class="way"') == 0  # no line over the gap
    unknown = plotting.dial(images, QS[:3], np.ones((3, 3)), np.full((3, 3), np.nan))
    assert record(unknown)["places"][0]["nats"] == ["1 \u00b1 unknown"] * 3


def test_the_plain_model_is_marked_where_it_is():
    assert made()[1].html.count("the plain model") == 3  # the curve, the slider, the script's data
    images = np.zeros((2, 1, 4, 4, 1), int)
    texts = ("no budget", "budget +5 nats")
    without = plotting.dial(images, texts, [[1.0]] * 2, [[1.0]] * 2)
    assert "the plain model" not in without.html
    given = plotting.dial(images, texts, [[1.0]] * 2, [[1.0]] * 2, plain=0)
    assert record(given)["places"][0]["spoken"].startswith("no budget, the plain model")


def test_one_position_is_a_page_too():
    page = plotting.dial(np.zeros((1, 1, 4, 4, 3), int), (0.7,), [[1.0]], [[1.0]])
    assert record(page)["places"][0]["x"] == 0.0


def test_it_is_small_and_the_same_bytes_again(tmp_path):
    images = RNG.integers(0, 256, (11, 8, 32, 32, 3), np.uint8)  # noise: nothing is longer as PNG
    some = np.linspace(0.0, 1.0, 88).reshape(11, 8)
    pages = [plotting.dial(images, np.linspace(0.1, 0.9, 11), some, some) for _ in range(2)]
    files = [page.save(tmp_path / f"{n}.html").read_bytes() for n, page in enumerate(pages)]
    assert files[0] == files[1]
    assert len(files[0]) < 1_000_000
    assert files[0].decode() == pages[0].html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((2, 3, 4, 4), int)}, "dial takes .positions, pictures"),
        ({"images": np.zeros((2, 3, 4, 4, 2), int)}, "dial takes .positions, pictures"),
        ({"images": np.zeros((2, 0, 4, 4, 3), int)}, "dial takes .positions, pictures"),
        ({"images": np.zeros((2, 3, 4, 4, 3))}, "integers 0 .. 16, got float64"),
        ({"images": np.full((2, 3, 4, 4, 3), 17)}, "lie in 0 .. 16, got 17 .. 17"),
        ({"positions": (0.5,)}, "positions must be 2"),
        ({"log_density": np.zeros(3)}, "log_density must be \\(2, 3\\)"),
        ({"total_error": np.zeros((3, 2))}, "total_error must be \\(2, 3\\)"),
        ({"bits_per_dim": 1.0}, "bits_per_dim must be \\(2, 3\\)"),
        ({"plain": 2}, "plain must be one of the positions 0 .. 1, got 2"),
    ],
)
def test_misuse_is_one_line(change, message):
    given = {
        "images": np.zeros((2, 3, 4, 4, 1), int),
        "positions": (0.4, 0.6),
        "log_density": np.zeros((2, 3)),
        "total_error": np.zeros((2, 3)),
        "levels": 17,
    }
    with pytest.raises(ValueError, match=message) as caught:
        plotting.dial(**(given | change))
    assert "\n" not in str(caught.value)
