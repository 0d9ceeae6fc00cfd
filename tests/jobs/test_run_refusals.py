"""Jobs and folders that are refused: one line, and nothing is left behind."""

import dataclasses

import pytest
from small_job import SMALL

from densityguide.app import jobs
from densityguide.app.jobs import Alignment, Density, Solve


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (dataclasses.replace(SMALL, model="digits9"), "digits9"),
        (dataclasses.replace(SMALL, images=True), "makes no pictures"),
        (dataclasses.replace(SMALL, condition="3"), "^condition belongs to models"),
        (
            Alignment("world:gaussian", 8, condition="3"),
            "^condition belongs to models",
        ),
        (dataclasses.replace(SMALL, solve=Solve(steps=5, rtol=0.1)), "solve.steps or solve.rtol"),
        (
            dataclasses.replace(SMALL, solve=Solve(tolerance="0.01bpd")),
            "solve.tolerance 0.01bpd is in bits/dim, which only models of integer data have",
        ),
        pytest.param(
            dataclasses.replace(SMALL, solve=Solve(tolerance="1e-9")),
            "solve.tolerance 1e-9 is not met by 256 steps and trace exact: take a wider one",
            marks=pytest.mark.slow,
        ),
        (Density("digits8", "emoji33"), "did you mean 'emoji32'"),
        (Density("digits8", "digits8", condition="3"), "^condition belongs to models"),
        (Density("digits8", "digits8", count=10**6), "expected count up to"),
        (Density("world:gaussian", "digits8"), "choose a model of these data"),
    ],
)
def test_refusals_leave_nothing_behind(tmp_path, job, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        jobs.run(job, tmp_path / "out")
    assert "\n" not in str(caught.value)
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert left in ([], [".lock"])


def test_a_refused_job_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="unknown model"):
        jobs.run(dataclasses.replace(SMALL, model="nothing"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "thesis.pdf").mkdir()
    with pytest.raises(ValueError, match="holds files but no manifest"):
        jobs.run(SMALL, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"thesis.tex", "thesis.pdf"}
