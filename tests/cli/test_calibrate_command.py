"""``densityguide calibrate``: a model's folder measured anew, both of its files or neither."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

import densityguide as dg
from densityguide.app.commands import calibrate
from densityguide.models import pretrained
from densityguide.steer.monotone import Monotone
from densityguide.verify.measures import Measures, _dial, measures


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(pretrained.FOLDER / "spiral2d", tmp_path / "spiral")


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
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
    errors = measured["solver_error"]
    assert errors[-1] < 0.01 < errors[0]
    assert measured["samples"] == 16
    # The same numbers again, by the verb.
    again = measures(dg.models.load("spiral2d"), jax.random.key(0), count=16, latents=8)
    np.testing.assert_allclose(again.solver_error, errors, rtol=0.02)
    assert list(again.steps) == measured["steps"]


def found(log_density, error=0.1, spread=0.1):
    """Made-up measures of a dial at 0.3, 0.5, 0.7, 0.9."""
    values, log_density = np.asarray([0.3, 0.5, 0.7, 0.9]), np.asarray(log_density)
    rise, bars = np.diff(log_density), np.full(3, spread)
    sure = rise > 2.0 * bars
    seen = Monotone(values, log_density, rise, bars, sure, np.nan, np.nan, np.zeros(4, int))
    times = np.linspace(-5.0, 5.0, 3)
    kept = dg.Calibration(times, -times, np.ones(3), _dial(seen))
    return Measures((kept,), (seen,), (8, 16), np.asarray([error, np.nan]))


@pytest.mark.parametrize(
    ("log_density", "low", "high"),
    [
        ([1.0, 2.0, 3.0, 3.1], 0.3, 0.7),
        ([1.0, 2.0, 3.0, 4.0], 0.3, 0.9),
        ([2.0, 1.0, 3.0, 4.0], 0.5, 0.9),
        ([4.0, 3.0, 2.0, 1.0], 0.5, 0.5),
        ([1.0, 1.0, 2.0, 3.0], 0.5, 0.9),
    ],
)
def test_the_dial_is_the_range_around_the_plain_model(
    run, folder, monkeypatch, log_density, low, high
):
    monkeypatch.setattr(calibrate, "measures", lambda *args, **options: found(log_density))
    outcome = run("calibrate", folder, "--json")
    [dial] = json.loads(outcome.out)["measured"]["dial"]
    assert (dial["low"], dial["high"]) == (low, high)
    np.testing.assert_allclose(dg.models.load(folder).calibration.dial, [low, high], rtol=1e-6)
    text = run("calibrate", folder).out
    assert (f"{low:g} .. {high:g}" in text) == (low < high)
    assert "nan" not in text + outcome.out
    assert "nan" not in (folder / "card.json").read_text().lower()


def test_pictures_have_their_error_in_bits(run, tmp_path, monkeypatch):
    folder = shutil.copytree(pretrained.FOLDER / "digits8", tmp_path / "digits")
    monkeypatch.setattr(
        calibrate, "measures", lambda *args, **options: found([1.0, 2.0, 3.0, 4.0], 64 * np.log(2))
    )
    measured = json.loads(run("calibrate", folder, "--json").out)["measured"]
    assert (measured["unit"], measured["solver_error"]) == ("bits/dim", [1.0, None])


def test_a_folder_of_a_shipped_models_name_is_the_users_own(run, tmp_path, monkeypatch):
    """Loaded as the folder, not by its name."""
    folder = shutil.copytree(pretrained.FOLDER / "spiral2d", tmp_path / "digits8")
    seen = []

    def measured(flow, *args, **options):
        seen.append(flow.shape)
        return found([1.0, 2.0, 3.0, 4.0])

    monkeypatch.setattr(calibrate, "measures", measured)
    assert run("calibrate", "digits8").status == 0
    assert seen == [(2,)]
    assert json.loads((folder / "card.json").read_text())["measured"]


def test_weights_replaced_meanwhile_keep_their_card(run, folder, monkeypatch):
    def measured(*args, **options):
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps(card | {"sha256": "0" * 64}))
        return found([1.0, 2.0, 3.0, 4.0])

    monkeypatch.setattr(calibrate, "measures", measured)
    outcome = run("calibrate", folder)
    assert outcome.status == 2
    assert "were replaced meanwhile" in outcome.err


def test_sigterm_is_one_line_and_writes_nothing(run, folder, monkeypatch):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(
        calibrate, "measures", lambda *args, **options: os.kill(os.getpid(), signal.SIGTERM)
    )
    outcome = run("calibrate", folder)
    assert (outcome.status, outcome.err) == (75, "stopped by SIGTERM: nothing was written\n")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


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
        (("--latents", 3), "--latents must lie in 4 .. 1000000, got 3"),
        (("--samples", 7), "--samples must lie in 8 .. 1000000, got 7"),
        (("--seed", 2**63), "--seed must lie in 0 .. 4294967295"),
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
