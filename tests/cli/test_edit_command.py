"""``densityguide edit``: a page, arrays and a report; pictures of any size."""

import json

import numpy as np
import pytest
from PIL import Image

import densityguide as dg
from densityguide.app import source
from densityguide.app.commands import cut, own
from densityguide.app.commands.own import Own
from densityguide.plotting.captioned import Row, captioned

WORLD = ("--model", "world:mixture", "--steps", "48", "--own", "0")


@pytest.fixture
def points(tmp_path):
    file = tmp_path / "points.npy"
    rng = np.random.default_rng(0)
    np.save(file, 0.3 * rng.normal(size=(2, 12)).astype(np.float32))
    return file


def test_help_has_examples_and_fits_a_terminal(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = run("edit", "--help")
    assert outcome.status == 0
    assert "densityguide edit photo.png" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.usefixtures("unoptimised")
def test_points_are_edited_without_a_page(run, tmp_path, points):
    outcome = run("edit", points, *WORLD, "--q", "0.3,0.7", "--depth", "-2", "--json")
    report = json.loads(outcome.out)
    assert report["settings"]["depth"] == -2.0
    for row in report["samples"]:
        low, high = row["edits"]
        assert low["log_density_nats"] < row["log_density_nats"] < high["log_density_nats"]
        assert row["round_trip"] < low["moved"]
        assert not row["lost"]
        assert row["cut"] is None
    found = np.load(tmp_path / "edit" / "edit.npz")
    np.testing.assert_array_equal(found["given"], np.load(points))
    assert found["x"].shape == (2, 2, 12)
    np.testing.assert_allclose(
        found["moved"][0, 1], report["samples"][0]["edits"][1]["moved"], rtol=1e-6
    )
    assert not (tmp_path / "edit" / "edit.png").exists()


@pytest.mark.slow
def test_a_picture_of_another_size_has_a_page_and_a_verdict(run, tmp_path):
    wide = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    outcome = run("edit", "wide.png", "--model", "digits8", "--steps", 16, "--q", "0.5", "--own", 4)
    assert outcome.status == 0, outcome.err
    assert "40 x 30 pixels, its middle cut out and scaled to 8 x 8" in outcome.out
    assert "below the mean of 4 samples of the model's own" in outcome.out
    assert "hardly seen such samples" in outcome.out
    page = Image.open(tmp_path / "edit" / "edit.png")
    assert page.width >= 640
    assert np.asarray(page.convert("L")).std() > 1.0
    images = np.load(tmp_path / "edit" / "edit.npz")["given_images"]
    assert images.max() <= 16, "the model's own levels"


def test_pictures_are_cut_as_for_training(tmp_path):
    loaded = source.load("digits8")
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = 255  # the middle is white
    Image.fromarray(wide).save(tmp_path / "wide.png")
    found = cut.open_any([tmp_path / "wide.png"], None, loaded)
    np.testing.assert_array_equal(found.read(0, 1), np.full((1, 8, 8, 1), 16))
    assert "its middle cut out" in cut.told(str(tmp_path / "wide.png"), (8, 8, 1))
    Image.fromarray(wide[:, :8]).save(tmp_path / "same.png")
    assert cut.told(str(tmp_path / "same.png"), (8, 8, 1)) is None


@pytest.mark.parametrize(
    ("nats", "words"),
    [
        (-50.0, "below .* hardly seen such samples"),
        (12.0, "above .* a sample like others"),
        (70.0, "above .* plainer than what the model makes"),
        (float("nan"), "could not be compared"),
    ],
)
def test_verdicts(nats, words):
    import re

    flow = dg.models.load("digits8")
    assert re.search(words, own.verdict(nats, Own(10.0, 5.0, 8), flow))


def test_a_page_wants_a_caption_for_every_picture():
    images = np.zeros((2, 4, 4, 1), np.uint8)
    with pytest.raises(ValueError, match=r"with n captions, got .* with 1"):
        captioned([Row(images, [("one",)])], 17, title="")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.npy", *WORLD), "absent.npy does not exist"),
        (("points.npy", *WORLD, "--q", "1.5"), "strictly between 0 and 1"),
        (("points.npy", *WORLD, "--depth", "99"), "depth must lie from"),
        (("points.npy", *WORLD[:-1], "1"), "--own must be 2 or more"),
        (("points.npy", *WORLD, "--out", "points.npy"), "--out must be a folder"),
        (("many.npy", *WORLD), "up to 64 samples, got 65"),
        (("deep.png", "--model", "digits8"), "expected 8 bits a channel"),
        (("points.npy", *WORLD, "--probes", "1"), "--probes must be 2 or more"),
    ],
)
def test_refusals(run, tmp_path, points, arguments, words):
    np.save(tmp_path / "many.npy", np.zeros((65, 12), np.float32))
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    before = sorted(tmp_path.iterdir())
    assert words in run("edit", *arguments).line
    assert sorted(tmp_path.iterdir()) == before
