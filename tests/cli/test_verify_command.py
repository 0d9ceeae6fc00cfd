"""``densityguide verify``: the verb's findings, and a status that a script can act on."""

import json
import shutil

import numpy as np
import pytest

from densityguide import data
from densityguide.app.commands import verify
from densityguide.app.requests import Request
from densityguide.models import pretrained
from densityguide.verify import Check, Verification

GOOD = Check("repeatable", True, "same twice", "same twice", "")
BAD = Check("precision", False, "bfloat16", "float32 or better", "use float32")
NONE = Check("score belongs to the flow", None, "no score", "ratio 1", "")
NOTE = Check("smooth (no kinks)", None, "40%", "< 20%", "use Heun")


@pytest.mark.parametrize(("checks", "status"), [((GOOD, NONE), 0), ((GOOD, BAD, NONE), 1)])
def test_status_and_table(run, monkeypatch, checks, status):
    monkeypatch.setattr(verify, "verify", lambda *_, **__: Verification(checks))
    outcome = run("verify", "--model", "world:gaussian")
    assert outcome.status == status
    for check in checks:
        assert check.name in outcome.out
    assert ("FAIL" in outcome.out) == bool(status)
    assert ("Likely mistake: use float32" in outcome.out) == bool(status)
    outcome = run("verify", "--model", "world:gaussian", "--json")
    assert outcome.status == status
    report = json.loads(outcome.out)
    assert report["passed"] == (status == 0)
    assert [check["name"] for check in report["checks"]] == [check.name for check in checks]


def test_notes_and_progress_are_shown(run, monkeypatch):
    told = []

    def found(flow, key, *, progress, count, **options):
        told.append(count)
        for done in (1, 2):
            progress(done, 2)
        return Verification((GOOD, NOTE))

    monkeypatch.setattr(verify, "verify", found)
    outcome = run("verify", "--model", "world:gaussian")
    assert outcome.status == 0
    assert "note" in outcome.out
    assert "Note: use Heun" in outcome.out
    run("verify", "--model", "fashion28")
    assert told == [64, 32]
    ticks = []
    request = Request("world:gaussian", None, 0, None, condition=None)
    verify.run(request, (), None, lambda total: lambda: ticks.append(total))
    assert ticks == [2, 2]


def test_data_reach_the_verb_on_the_models_scale(run, tmp_path, monkeypatch):
    seen = {}

    def look(flow, key, **options):
        seen.update(options)
        return Verification((GOOD,))

    monkeypatch.setattr(verify, "verify", look)
    images = np.random.default_rng(0).integers(0, 17, (9, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "data.npz", train=images[:1], heldout=images)
    options = ("--data", "data.npz", "--array", "heldout", "--count", "8", "--steps", "3")
    report = json.loads(run("verify", "--model", "digits8", *options, "--json").out)
    assert report["settings"]["data"] == ["data.npz"]
    assert seen["data"].shape == (8, 8, 8, 1)
    assert (seen["count"], seen["steps"]) == (8, 3)
    np.testing.assert_array_equal(np.floor((seen["data"] + 1) * 8.5).astype(np.uint8), images[:8])


def test_labels_are_an_array_beside_the_data(run, tmp_path, monkeypatch):
    seen = {}

    def look(flow, key, **options):
        seen.update(options)
        return Verification((GOOD,))

    monkeypatch.setattr(verify, "verify", look)
    images = np.zeros((9, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "data.npz", heldout=images, heldout_labels=np.arange(9))
    options = ("verify", "--model", "digits8-class", "--count", "8", "--data", "data.npz")
    options += ("--array", "heldout", "--labels")
    report = json.loads(run(*options, "heldout_labels", "--json").out)
    assert report["settings"]["labels"] == "heldout_labels"
    np.testing.assert_array_equal(seen["labels"], np.arange(8))
    assert "it has no array 'names'" in run(*options, "names").line
    wrong = {"one": np.asarray(3), "texts": np.full(9, "a"), "more": np.arange(10) % 9}
    np.savez(tmp_path / "data.npz", heldout=images, **wrong)
    for name in wrong:
        assert f"each of the 9 samples in {name} of data.npz, got" in run(*options, name).line
    for without in (("--data", "data.npy"), ()):
        line = run("verify", "--model", "digits8-class", *without, "--labels", "labels").line
        assert "names an array of the one .npz file of --data" in line


@pytest.mark.slow
def test_labels_that_are_off_by_one_are_told(run, tmp_path):
    digits = data.load("digits8")
    right = digits.heldout_labels
    np.savez(tmp_path / "data.npz", x=digits.heldout, right=right, wrong=(right + 1) % 10)
    options = ("verify", "--model", "digits8-class", "--data", "data.npz", "--steps", "8")
    for name, verdict in (("right", "pass"), ("wrong", "FAIL")):
        outcome = run(*options, "--array", "x", "--labels", name)
        (line,) = [line for line in outcome.out.splitlines() if "classes of the data" in line]
        assert verdict in line
        assert ("Likely mistake: the labels seem to be off by one" in outcome.out) == (
            name == "wrong"
        )


def test_refusals(run, tmp_path):
    np.save(tmp_path / "few.npy", np.zeros((7, 6)))
    world = ("verify", "--model", "world:gaussian")
    assert "at least 8 samples, got 7" in run(*world, "--data", "few.npy").line
    assert "--count must lie in 8" in run(*world, "--count", "7").line
    assert "belongs to --data" in run(*world, "--array", "x").line
    assert "--steps" in run(*world, "--steps", "0").line


@pytest.mark.slow
def test_a_wrong_card_is_found(run, tmp_path):
    """A model that says it predicts noise, and does not."""
    folder = tmp_path / "wrong"
    shutil.copytree(pretrained.FOLDER / "digits8", folder)
    (folder / "calibration.safetensors").unlink(missing_ok=True)
    card = json.loads((folder / "card.json").read_text())
    card["prediction"] = "noise" if card["prediction"] == "v" else "v"
    (folder / "card.json").write_text(json.dumps(card))
    outcome = run("verify", "--model", folder, "--count", "16", "--steps", "8")
    assert outcome.status == 1
    assert "prediction" in outcome.out
