"""``--tolerance``: log p as certain as was asked, or a line that says where it is not."""

import json

import numpy as np
import pytest


@pytest.fixture
def points(tmp_path):
    file = tmp_path / "points.npy"
    np.save(file, 0.3 * np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32))
    return file


WORLD = ("--model", "world:mixture")


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimised")
def test_steps_are_as_many_as_it_takes(run, points):
    steps = []
    for tolerance in ("1", "0.02nats"):
        report = json.loads(run("density", points, *WORLD, "--tolerance", tolerance, "--json").out)
        settings, rows = report["settings"], report["samples"]
        beyond = [row for row in rows if row["total_error_nats"] > settings["tolerance"]]
        assert report["beyond_tolerance"] == len(beyond)
        steps.append(settings["steps"])
    assert 8 <= steps[0] < steps[1]
    assert settings["tolerance"] == 0.02


@pytest.mark.slow
def test_a_picture_says_how_it_was_made(run):
    options = ("--model", "digits8", "--count", 2, "--q", "0.5", "--tolerance", "0.5bpd")
    outcome = run("sample", *options)
    assert outcome.status == 0, outcome.err
    assert "steps for a tolerance of 22.2 nats: every log p is that certain" in outcome.out
    assert "--tolerance 0.5bpd" in run("show", "samples/grid.png").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tolerance", "1", "--steps", "8"), "chooses the number of steps: drop --steps"),
        (("--tolerance", "-1"), "--tolerance must be positive, got -1"),
        (("--tolerance", "much"), "write e.g. --tolerance 0.5 or --tolerance 0.01bpd"),
        (("--tolerance", "0.1bpd"), "only models of integer data have: give nats"),
        pytest.param(
            ("--tolerance", "1e-9"),
            "is not met by 256 steps and trace exact: take a wider one",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.usefixtures("unoptimised")
def test_what_is_refused(run, points, options, words):
    outcome = run("density", points, *WORLD, *options)
    assert outcome.status == 2
    assert words in outcome.err
    assert len(outcome.err.splitlines()) == 1
