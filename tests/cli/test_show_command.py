"""``densityguide show``: a picture tells how it was made, and its command makes it again."""

import json
import shlex
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import densityguide
from densityguide.app import imprint
from densityguide.app.requests import Request

PAGE = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
ROWS = [{"q": 0.3, "log_density_nats": -1.25}, {"q": 0.7, "log_density_nats": None}]


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "page.png"
    told = {"count": 2, "name": "\u00e9\u4e2d [b]\n", "trace": None}
    line = imprint.command("sample", "--model", "./my m\u00f6del", "--q", "0.3,0.7")
    for _ in range(2):  # no dates
        before = path.read_bytes() if path.exists() else None
        imprint.save(PAGE, path, line, told, ROWS)
        assert before in (None, path.read_bytes())
    found = imprint.read(path)
    assert found == (f"densityguide {densityguide.__version__}", line, told, ROWS)
    assert shlex.split(found.command)[3] == "./my m\u00f6del"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(PAGE))


def test_a_command_holds_what_was_typed():
    assert imprint.options(Request("digits8")) == ["--model", "digits8", "--seed", "0"]
    words = imprint.options(Request("m", 4, 7, 8, "heun", "-1", 0))
    assert " ".join(words[4:]) == "--count 4 --steps 8 --solver heun --condition -1 --probes 0"


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_the_command_in_a_grid_makes_the_same_bytes(run, tmp_path):
    first = ("sample", "--model", "world:mixture", "--count", "4", "--steps", "24", "--seed", "3")
    assert run(*first, "--budget", "-2,3", "--frames", "3", "--out", "one").status == 0
    grid = tmp_path / "one" / "grid.png"
    report = json.loads(run("show", grid, "--json").out)
    program, *words = shlex.split(report["command"])
    assert program == "densityguide"
    assert run(*words, "--out", "two").status == 0
    assert (tmp_path / "two" / "grid.png").read_bytes() == grid.read_bytes()
    written = json.loads((tmp_path / "one" / "report.json").read_text())
    assert [row["budget_nats"] for row in report["rows"]] == [-2.0, 0.5, 3.0]
    for told, row in zip(report["rows"], written["rows"], strict=True):
        assert told["log_density_nats"] == row["log_density_nats"]
    text = run("show", grid).out
    assert f"  {report['command']}\n" in text  # whole, to copy
    for word in ("densityguide", "budget (nats)", "-2.0", "seed 3", "model world:mixture"):
        assert word in text


def file(tmp_path, name, texts=(), image=PAGE):
    chunks = PngImagePlugin.PngInfo()
    for key, text in dict(texts).items():
        chunks.add_text(key, text)
    image.save(tmp_path / name, "PNG", pnginfo=chunks)


def test_what_is_no_picture_of_ours_is_one_line(run, tmp_path):
    ours = {"Software": "densityguide 1", "Command": "densityguide sample"}
    file(tmp_path, "plain.png")
    file(tmp_path, "other.png", ours | {"Software": "another"})
    file(tmp_path, "half.png", ours | {"Settings": "{", "Rows": "[]"})
    file(tmp_path, "wrong.png", ours | {"Settings": "[]", "Rows": "[]"})
    file(tmp_path, "rows.png", ours | {"Settings": "{}", "Rows": "[1]"})
    file(tmp_path, "deep.png", ours | {"Settings": "[" * 100_000, "Rows": "[]"})
    PAGE.save(tmp_path / "jpeg.png", "JPEG")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "plain.png").read_bytes()[:45])
    (tmp_path / "bomb.png").write_bytes(bomb((tmp_path / "plain.png").read_bytes()))
    messages = {
        "plain": "does not say how it was made",
        "other": "does not say how it was made",
        "half": "the text Settings in half.png is damaged",
        "wrong": "the text Settings or Rows in wrong.png is damaged",
        "rows": "the text Settings or Rows in rows.png is damaged",
        "deep": "the text Settings in deep.png is damaged",
        "jpeg": "expected a PNG picture, jpeg.png is none",
        "text": "expected a PNG picture, text.png is none",
        "cut": "expected a PNG picture, cut.png is none",
        "bomb": "expected a PNG picture, bomb.png is none",
        "missing": "expected a PNG picture, missing.png does not exist",
    }
    for name, message in messages.items():
        assert message in run("show", f"{name}.png").line
    assert "is a folder" in run("show", ".").line


def bomb(png):
    """The file with a chunk of text that unpacks to 100 MB."""
    content = b"Command\0\0" + zlib.compress(bytes(100_000_000))
    length, crc = len(content), zlib.crc32(b"zTXt" + content)
    chunk = length.to_bytes(4, "big") + b"zTXt" + content + crc.to_bytes(4, "big")
    return png[:33] + chunk + png[33:]  # after the header


def test_hostile_texts_are_shown_as_text(run, tmp_path):
    texts = {
        "Software": "densityguide \x1b[31m",
        "Command": "densityguide \x1b]0;x\x07\nsample",
        "Settings": json.dumps({"\x1b[2J": ["[bold]", "\x1b"]}),
        "Rows": json.dumps([{"q": "\x1b[1m", "log_density_nats": True}, {"unknown": 1}]),
    }
    file(tmp_path, "hostile.png", texts)
    outcome = run("show", "hostile.png")
    assert outcome.status == 0
    assert "\x1b" not in outcome.out
    assert "\x07" not in outcome.out
    assert "[bold]" in outcome.out
