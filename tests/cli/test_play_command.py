"""``densityguide play`` without its page: what is computed, what is shown, what is refused."""

import base64
import io
import re
import socket
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import densityguide as dg
from densityguide.app import dial, requests, source
from densityguide.app.commands import sample
from densityguide.app.play import actions, board, given, look
from densityguide.app.play.board import Measured, Turn
from densityguide.app.requests import Request

QUICK = Request("digits8", steps=4)


def shown(html):
    """The pictures in a piece of the page."""
    coded = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in coded]


def test_a_figure_shows_its_pixels_and_escapes_its_words():
    image = np.arange(16).reshape(4, 4, 1)
    html = look.board([look.Figure(image, 16, "<a>", ("<b>", "c"))])
    np.testing.assert_array_equal(shown(html)[0], 17 * image[..., 0])
    assert "<a>" not in html
    assert "&lt;b&gt;" in html
    assert 'role="alert"' in look.line("no", wrong=True)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, ("measuring log p", "\u2026")),
        (Measured(4321.4, 12.3, 3.0), ("log p 4,321 \u00b1 12", "3.00 bits/dim")),
        (Measured(57.44, 0.12, 1.79), ("log p 57.4 \u00b1 0.1", "1.79 bits/dim")),
        (Measured(57.44, 0.02, 1.79), ("log p 57.44 \u00b1 0.02", "1.79 bits/dim")),
        (Measured(57.44, np.nan, 1.79), ("log p 57 \u00b1 unknown", "1.79 bits/dim")),
        (Measured(np.nan, np.nan, np.nan), ("failed", "log p is not finite")),
    ],
)
def test_captions(found, words):
    assert look.caption(found) == words


def test_nothing_on_the_page_is_from_elsewhere():
    from densityguide.app.play import page

    for text in (look.style(), page.HEAD, page.ENDS):
        assert "http" not in text
        assert "url(" not in text


def fake(monkeypatch, log):
    """A board that computes nothing and writes down what it is asked for."""
    known = SimpleNamespace(turning=threading.Lock(), loaded=SimpleNamespace(levels=256))
    images = np.zeros((board.COUNT, 2, 2, 3), np.uint8)
    monkeypatch.setattr(
        board, "turn", lambda _, q, seed: log.append(q) or Turn(q, seed, images, images)
    )
    monkeypatch.setattr(
        board, "measure", lambda _, shown, n: log.append((shown.q, n)) or Measured(1.0, 0.1, 2.0)
    )
    return lambda name: known


def test_a_turn_shows_pictures_first_and_then_each_log_p(monkeypatch):
    log = []
    pages = list(actions.turn(fake(monkeypatch, log), actions.Newest(), "any", 0.7, 0))
    assert log == [0.7, *((0.7, n) for n in range(board.COUNT))]
    for count, (html, _) in enumerate(pages):
        assert len(shown(html)) == board.COUNT
        assert html.count("\u00b1") == count
    assert "log p measured" in pages[-1][1]


def test_an_older_turn_has_nothing_more_to_show(monkeypatch):
    log, newest = [], actions.Newest()
    find = fake(monkeypatch, log)
    first = actions.turn(find, newest, "any", 0.3, 0)
    next(first)
    second = actions.turn(find, newest, "any", 0.7, 0)
    next(second)
    assert list(first) == []
    assert log == [0.3, 0.7]  # of the first place no log p was measured
    assert len(list(second)) == board.COUNT


def test_while_one_turn_computes_only_the_last_of_the_others_waits(monkeypatch):
    log, newest = [], actions.Newest()
    find = fake(monkeypatch, log)
    waiting = [actions.turn(find, newest, "any", q, 0) for q in (0.3, 0.4, 0.5)]
    with find("any").turning:
        threads = []
        for one in waiting:
            before = newest.number
            threads.append(threading.Thread(target=lambda one=one: next(one, None)))
            threads[-1].start()
            while newest.number == before:
                pass
    for thread in threads:
        thread.join()
    assert log == [0.5]


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_the_dial_of_a_model():
    known = board.opened(QUICK)
    turns = [board.turn(known, q, 0) for q in (0.3, 0.7)]
    for one in turns:
        assert one.images.shape == (board.COUNT, 8, 8, 1)
        assert one.images.max() <= 16
    assert not np.array_equal(turns[0].images, turns[1].images)
    assert "encoder" not in vars(known), "nothing was measured"


def test_the_reach_of_the_dial():
    known = board.opened(QUICK)
    flow = known.loaded.flow
    for ends, reach in (((0.123, 0.877), (0.13, 0.87)), ((0.3, 0.7), (0.3, 0.7))):
        told = flow.replace(calibration=flow.calibration._replace(dial=np.asarray(ends)))
        assert board.reach(board.Board(known.loaded._replace(flow=told), known.settings)) == reach
    bare = known.loaded._replace(flow=flow.replace(calibration=None))
    assert board.reach(board.Board(bare, known.settings)) == board.WIDE


def test_every_model_of_pictures_is_offered():
    assert set(board.named()) == set(dg.models.names()) - {"spiral2d"}


def test_a_picture_that_cannot_be_read_is_one_line(tmp_path):
    def find(name):
        return board.opened(QUICK)

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    ((html, line),) = actions.edit(find, actions.Newest(), "digits8", str(broken), 0.5, 0.0)
    assert html == ""
    assert 'role="alert"' in line
    assert "broken.png cannot be decoded" in line
    assert str(tmp_path) not in line
    ((html, line),) = actions.edit(find, actions.Newest(), "digits8", None, 0.5, 0.0)
    assert (html, actions.INVITATION in line) == ("", True)


def test_a_picture_is_cut_to_the_model(tmp_path):
    known = board.opened(QUICK)
    Image.fromarray(np.full((20, 30, 3), 255, np.uint8)).save(tmp_path / "white.png")
    picture = given.read(known, tmp_path / "white.png")
    np.testing.assert_array_equal(picture.image, np.full((8, 8, 1), 16))
    assert "30 x 20 pixels" in picture.told
    low, high = given.depths(known)
    assert low == known.loaded.flow.interval[0]
    assert low < high < known.loaded.flow.interval[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "digit8"), "did you mean 'digits8'"),
        (("--model", "world:mixture"), "play shows pictures, and world:mixture makes none"),
        (("--port", 0), "--port must lie in 1 .. 65535"),
        (("--steps", 0), "--steps must lie in"),
        (("--model", "digits8", "--condition", 3), "belongs to models trained with one"),
    ],
)
def test_refusals(run, arguments, message):
    assert message in run("play", "--no-browser", *arguments).line


def test_a_busy_port_is_one_line(run):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        line = run("play", "--no-browser", "--port", port).line
    assert f"--port {port} is in use" in line


def test_a_missing_gradio_is_one_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    line = run("play", "--no-browser", "--model", "digits8").line
    assert "needs the package gradio" in line
    assert "densityguide[play]" in line


@pytest.mark.slow
def test_pictures_and_log_p_are_those_of_sample():
    request = Request("digits8", steps=16, seed=3)
    known = board.opened(request)
    one = board.turn(known, 0.7, 3)
    loaded = source.load("digits8")
    settings = requests.settings(request, loaded, count=board.COUNT, guidance=dg.quantile(0.7))
    compiled = sample.compile_row(loaded.flow, settings, dial.parse(("0.7",)))
    drawn = sample.draw_row(compiled, loaded.flow, settings, 0.7, lambda: None)
    np.testing.assert_allclose(one.x, drawn.x, atol=2e-5)
    for n in (0, 3):
        found = board.measure(known, one, n)
        allowed = found.error + drawn.total_error[n] + 0.05
        assert abs(found.nats - drawn.log_density[n]) < allowed
        assert found.bits == pytest.approx(
            float(loaded.flow.transform.bits_per_dim(found.nats, 64)), abs=1e-5
        )


@pytest.mark.slow
def test_your_picture_comes_back_at_the_plain_quantile(tmp_path):
    known = board.opened(Request("digits8", steps=16))
    digit = np.rint(board.turn(known, 0.5, 0).images[0, ..., 0] * (255 / 16)).astype(np.uint8)
    Image.fromarray(digit).save(tmp_path / "digit.png")
    ends = []
    for q in (0.5, 0.7):
        pages = list(
            actions.edit(
                lambda name: known, actions.Newest(), "any", str(tmp_path / "digit.png"), q, -9.0
            )
        )
        assert len(pages) == 3
        assert pages[0][0].count("measuring") == 2
        assert pages[1][0].count("\u00b1") == 2
        assert "8 samples of the model's own" in pages[2][1].replace("&#x27;", "'")
        ends.append(shown(pages[2][0]))
    np.testing.assert_allclose(ends[0][1].astype(int), digit.astype(int), atol=17)  # one level
    assert not np.array_equal(ends[1][1], ends[1][0])
