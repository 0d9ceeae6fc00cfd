"""``densityguide between``: a strip, its arrays and its report."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

WORLD = ("--model", "world:mixture", "--steps", "24", "--segments", "4", "--frames", "3")


@pytest.fixture
def points(tmp_path):
    file = tmp_path / "points.npy"
    rng = np.random.default_rng(0)
    np.save(file, 0.3 * rng.normal(size=(3, 12)).astype(np.float32) + np.eye(3, 12) * 1.6)
    return file


def test_help_has_examples_and_fits_a_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = run("between", "--help")
    assert outcome.status == 0
    assert "densityguide between a.png b.png" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_points_have_a_curve_and_no_strip(run, tmp_path, points):
    outcome = run("between", points, *WORLD)
    assert outcome.status == 0, outcome.err
    for word in ("Distance at most", "Negative chords: 0", "Wrote between/curve.npz"):
        assert word in outcome.out
    found = np.load(tmp_path / "between" / "curve.npz")
    assert found["y"].shape == (5, 12)
    assert found["x"].shape == (3, 12)
    np.testing.assert_allclose(found["y"][[0, -1]], np.load(points)[:2], rtol=1e-6)
    report = json.loads((tmp_path / "between" / "report.json").read_text())
    assert report["bound"] >= report["length"] > 0
    assert abs(report["closure_nats"]) < 10.0  # of four chords
    assert len(report["frames"]) == 3
    assert not (tmp_path / "between" / "strip.png").exists()
    again = json.loads(run("between", points, *WORLD, "--json").out)
    assert again["bound"] == report["bound"]


@pytest.mark.slow
def test_pictures_have_a_strip(run, tmp_path):
    images = np.random.default_rng(0).integers(0, 17, (2, 8, 8), np.uint8)
    for name, image in zip("ab", images, strict=True):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    options = ("--model", "digits8", "--steps", "8", "--segments", "4", "--frames", "3")
    outcome = run("between", "a.png", "b.png", *options, "--probes", "2")
    assert outcome.status == 0, outcome.err
    page = Image.open(tmp_path / "between" / "strip.png")
    assert page.width >= 640
    assert np.asarray(page.convert("L")).std() > 1.0
    # Its own folder may be written again, by the command that the strip tells.
    first = (tmp_path / "between" / "strip.png").read_bytes()
    told = json.loads(run("show", "between/strip.png", "--json").out)
    assert len(told["rows"]) == 3
    assert run(*shlex.split(told["command"])[1:]).status == 0
    assert (tmp_path / "between" / "strip.png").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.npy", *WORLD), "absent.npy does not exist"),
        (("one.npy", *WORLD), "between takes two samples, got 1"),
        (("same.npy", *WORLD), "two different points, got one twice"),
        (("points.npy", *WORLD, "--log-snr", "99"), "log_snr must lie in the flow's range"),
        (("points.npy", *WORLD, "--segments", "0"), "--segments must lie in 1"),
        (("points.npy", *WORLD, "--frames", "1"), "--frames must lie in 2"),
        (("points.npy", *WORLD, "--out", "points.npy"), "--out must be a folder"),
    ],
)
def test_refusals(run, tmp_path, points, arguments, words):
    np.save(tmp_path / "one.npy", np.zeros((1, 12), np.float32))
    np.save(tmp_path / "same.npy", np.zeros((2, 12), np.float32))
    before = sorted(tmp_path.iterdir())
    assert words in run("between", *arguments).line
    assert sorted(tmp_path.iterdir()) == before
