"""A job that is started again: what is there stays, what is missing or damaged is made anew, and
another job is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from small_job import SMALL

from densityguide import parallel
from densityguide.app import jobs
from densityguide.app.jobs import Density, Output, Solve
from densityguide.disk.atomic import PART


def test_a_finished_job_is_not_run_again(done, monkeypatch):
    out, summary = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(parallel, "pmap", None)
    monkeypatch.setattr(parallel, "_program", None)
    assert jobs.run(SMALL, out) == summary
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_is_missing_is_made_again(done):
    out, summary = done
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "shards" / "000001.npz").unlink()
    (out / "manifest.json").write_text(
        (out / "manifest.json").read_text().replace('"finished": true', '"finished": false')
    )
    assert jobs.run(SMALL, out) == summary
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "lose",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"mine": 1}'),
    ],
)
def test_a_lost_summary_is_made_again_from_the_shards(done, monkeypatch, lose):
    out, summary = done
    lose(out / "summary.json")
    monkeypatch.setattr(parallel, "_program", None)  # nothing is sampled
    assert jobs.run(SMALL, out) == summary
    assert json.loads((out / "summary.json").read_text()) == summary


def test_what_a_killed_run_left_before_its_manifest_is_no_obstacle(done, tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / f".manifest.json.123{PART}").write_text("{")
    jobs.run(SMALL, tmp_path)
    assert (tmp_path / "summary.json").read_bytes() == (done[0] / "summary.json").read_bytes()
    assert not list(tmp_path.glob(f".*{PART}"))


@pytest.mark.parametrize("content", ["", '{"program": "densityguide run", "jo', '{"program": 1}'])
def test_a_manifest_that_was_cut_short_is_said_to_be(done, tmp_path, content):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    (out / "manifest.json").write_text(content)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("shards/*.npz")}
    if content.endswith("1}"):  # a whole one, of another program
        with pytest.raises(ValueError, match=r"holds files but no manifest\.json of a job"):
            jobs.run(SMALL, out, repair=True)
        return
    with pytest.raises(ValueError, match=r"manifest\.json is damaged: .* by --repair"):
        jobs.run(SMALL, out)
    assert jobs.run(SMALL, out, repair=True) == done[1]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    (out / "thesis.tex").write_text("mine")
    (out / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="holds files but no manifest"):
        jobs.run(SMALL, out, repair=True)


@pytest.mark.parametrize("damage", [{"job": 3}, {"facts": None}, {"environments": {}}])
def test_a_damaged_manifest_is_said_to_be(done, tmp_path, damage):
    manifest = json.loads((done[0] / "manifest.json").read_text()) | damage
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="is damaged: put it back"):
        jobs.run(SMALL, tmp_path)


def test_another_job_is_refused_by_the_key_that_changed(done):
    out, _ = done
    other = dataclasses.replace(SMALL, seed=4)
    with pytest.raises(ValueError, match=r"another job \(seed was 3, is 4\)"):
        jobs.run(other, out)


def test_other_weights_are_refused(done, tmp_path):
    out, _ = done
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["facts"]["model"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="the model changed"):
        jobs.run(SMALL, tmp_path)


def test_another_split_of_the_same_data_is_refused(tmp_path):
    points = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
    file = tmp_path / "points.npz"
    job = Density("world:mixture", str(file), solve=Solve(steps=2), output=Output(4, 4))
    np.savez(file, train=points[:4], heldout=points[4:])
    jobs.run(job, tmp_path / "out")
    np.savez(file, train=points[:2], heldout=points[2:])
    with pytest.raises(ValueError, match="the split of the data changed since"):
        jobs.run(job, tmp_path / "out")
