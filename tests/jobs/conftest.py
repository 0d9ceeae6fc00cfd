"""Jobs in processes of their own, with a compilation cache that they share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from outputs import contents
from small_job import SMALL

from densityguide.app import jobs

STORES = ("AWS_", "STORAGE_EMULATOR_", "GCSFS_")  # variables that say where they are
ROOT = Path(__file__).parent.parent.parent

# Cheap samples in many shards: what is tried here is their way to the disk.
JOB = """
kind = "sample"
model = "world:gaussian"
count = 960
[guidance]
kind = "quantile"
values = [0.45, 0.55]
[solve]
steps = 12
[output]
shard = 16
block = 4
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder)}


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    path = tmp_path_factory.mktemp("job") / "job.toml"
    path.write_text(JOB)
    return path


@pytest.fixture(scope="session")
def start(environment, job) -> Callable[..., subprocess.Popen]:
    """``start(out, *options, devices=1)``: the job as a process."""

    def start(out: Path, *options: str, devices: int = 1, **others) -> subprocess.Popen:
        stores = {name: value for name, value in os.environ.items() if name.startswith(STORES)}
        flags = f"--xla_force_host_platform_device_count={devices}"
        return subprocess.Popen(
            [sys.executable, "-m", "densityguide", "run", job, "--out", out, *options],
            env=environment | stores | {"XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **others,
        )

    return start


@pytest.fixture(scope="session")
def finished(start, tmp_path_factory):
    """What an uninterrupted run on one device leaves."""
    out = tmp_path_factory.mktemp("finished") / "out"
    process = start(out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    found = contents(out)
    assert len(found) == 2 * 120 + 2
    return found


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "out"
    return out, jobs.run(SMALL, out)


@pytest.fixture(scope="module")
def done(small_run, tmp_path_factory):
    """The folder of a finished small job, and its summary; each module has a copy to damage."""
    out = tmp_path_factory.mktemp("done") / "out"
    shutil.copytree(small_run[0], out)
    return out, small_run[1]
