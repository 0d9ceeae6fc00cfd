"""Folders that an earlier version began, or that somebody changed: the job goes on, or is refused
in one line. And signals that Python drops."""

import dataclasses
import gc
import json
import os
import shutil
import signal
from contextlib import contextmanager

import pytest
from test_peers import JOB, cheap  # noqa: F401  (a fixture)

from densityguide.app import jobs
from densityguide.disk import settings
from densityguide.disk.interrupts import Preempted


@pytest.fixture
def out(cheap, tmp_path):  # noqa: F811
    jobs.run(JOB, tmp_path / "out")
    return tmp_path / "out"


def test_settings_that_came_since_are_at_their_defaults(out):
    """A job that an earlier version began goes on."""
    whole = (out / "manifest.json").read_bytes()
    manifest = json.loads(whole)
    for name in ("prompt", "negative", "scale"):
        del manifest["job"][name]
    del manifest["job"]["solve"]["tolerance"], manifest["list"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert jobs.open(out).job == JOB
    summary = jobs.run(JOB, out)  # is finished as it is
    (out / "shards" / "000001.npz").unlink()
    assert jobs.run(JOB, out) == summary
    assert (out / "manifest.json").read_bytes() == whole
    asked = jobs.config.record(dataclasses.replace(JOB, prompt="a cat"))
    changed = settings.differences(jobs.config.completed(manifest["job"]), asked)
    assert changed == ["prompt was '', is 'a cat'"]


@pytest.mark.parametrize("listed", [None, 3, [], [1], [{}]])
def test_a_damaged_list_of_shards_is_written_anew(out, listed):
    whole = (out / "manifest.json").read_bytes()
    (out / "manifest.json").write_text(json.dumps(json.loads(whole) | {"shards": listed}))
    with pytest.raises(ValueError, match="is unfinished"):
        jobs.open(out)
    jobs.run(JOB, out)
    assert (out / "manifest.json").read_bytes() == whole


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_is_heeded(tmp_path):
    """What a handler raises inside a callback of the garbage collector goes nowhere."""
    sent = []

    def callback(phase, info):
        if not sent:
            sent.append(phase)
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def progress(total, finished):
        def tick(record):
            gc.callbacks.append(callback)
            gc.collect()
            gc.callbacks.remove(callback)

        yield tick

    with pytest.raises(Preempted, match="stopped by SIGTERM"):
        jobs.run(JOB, tmp_path / "out", progress=progress)
    assert sent
    assert len(list(tmp_path.glob("out/shards/*.npz"))) == 1


def test_a_folder_in_place_of_a_file_is_said_to_be(out, tmp_path):
    shard = out / "shards" / "000000.npz"
    shard.unlink()
    shard.mkdir()
    with pytest.raises(ValueError, match=r"expected a file, .*000000\.npz is a folder: move it"):
        jobs.run(JOB, out)
    (tmp_path / "other" / ".lock").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"\.lock to be the lock of a run, it is a folder"):
        jobs.run(JOB, tmp_path / "other")


def test_a_file_in_place_of_a_folder_is_said_to_be(out):
    shutil.rmtree(out / "shards")
    (out / "shards").write_text("mine")
    with pytest.raises(ValueError, match=r"a file lies where a folder must be, move it away"):
        jobs.run(JOB, out)
    assert (out / "shards").read_text() == "mine"
