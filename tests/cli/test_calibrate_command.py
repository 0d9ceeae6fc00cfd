"""``densityguide calibrate``: a model's folder measured anew, both of its files or neither."""

import json
import shutil

import numpy as np
import pytest

import densityguide as dg
from densityguide.app.commands import calibrate
from densityguide.models import pretrained
from densityguide.verify.measures import measures


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(pretrained.FOLDER / "spiral2d", tmp_path / "spiral")


@pytest.mark.slow
def test_the_folder_holds_what_was_measured(run, folder):
    outcome = run("calibrate", folder, "--latents", 8, "--samples", 16, "--json")
    assert outcome.status == 0, outcome.err
    measured = json.loads(outcome.out)["measured"]
    assert json.loads((folder / "card.json").read_text())["measured"] == measured
    [dial] = measured["dial"]
    flow = dg.models.load(folder)
    np.testing.assert_allclose(flow.calibration.dial, [dial["low"], dial["high"]], rtol=1e-6)
    assert dial["low"] < 0.5 < dial["high"]
    rises = dict(zip(dial["q"], dial["log_density_nats"], strict=True))
    assert rises[dial["low"]] < rises[0.5] < rises[dial["high"]]
    errors = measured["solver_error_nats"]
    assert errors[-1] < 0.01 < errors[0]
    assert measured["samples"] == 16
    # The same numbers again, by the verb.
    again = measures(dg.models.load("spiral2d"), jax_key(0), count=16, latents=8)
    np.testing.assert_allclose(again.solver_error, errors, rtol=0.02)
    assert list(again.steps) == measured["steps"]


def jax_key(seed):
    import jax

    return jax.random.key(seed)


def test_an_interrupted_measurement_leaves_the_folder_alone(run, folder, monkeypatch):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrate, "measures", stopped)
    assert run("calibrate", folder).status == 130
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--latents", 3), "--latents must be at least 4, got 3"),
        (("--samples", 7), "--samples must be at least 8, got 7"),
    ],
)
def test_what_is_refused(run, folder, options, words):
    outcome = run("calibrate", folder, *options)
    assert outcome.status == 2
    assert words in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_folder_that_is_no_model(run, tmp_path):
    outcome = run("calibrate", tmp_path)
    assert outcome.status == 2
    assert "card.json" in outcome.err
