"""configs/slurm.sh, as it is, on a SLURM of two nodes on this machine. Whatever happens to its
tasks, the job ends finished, with the bytes of one process."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import slurm
from outputs import contents
from test_interruptions import shards

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm.absent()), reason=slurm.absent() or "SLURM is here"),
]

SCRIPT = Path(__file__).parents[2] / "configs" / "slurm.sh"
PATIENCE = 5


def started():
    try:
        return slurm.Cluster()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cluster():
    cluster = started()
    yield cluster
    cluster.close()


@pytest.fixture
def place(tmp_path, job):
    """Where jobs are submitted: with the file that the script names, here a small job, and
    densityguide on the PATH."""
    (tmp_path / "configs").mkdir()
    shutil.copy(job, tmp_path / "configs" / "emoji32-sweep.toml")
    program = tmp_path / "densityguide"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m densityguide "$@"\n')
    program.chmod(0o755)
    return tmp_path


@pytest.fixture
def submit(cluster, place, environment):
    """``submit(*options, script, arguments)``: the number of the job, which is cancelled at the end
    if it still runs."""
    numbers = []

    def submit(*given):
        settings = {name: environment[name] for name in ("PYTHONPATH", "XDG_CACHE_HOME")}
        settings |= {
            "PATH": f"{place}{os.pathsep}{cluster.environment['PATH']}",
            "SCRATCH": str(place),
            "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        }
        command = ("sbatch", "--parsable", "--output=said.txt", *given)
        numbers.append(cluster.ask(*command, cwd=place, **settings))
        return numbers[-1]

    yield submit
    for number in numbers:
        cluster.ask("scancel", "--quiet", number)
        cluster.ended(number)


@pytest.fixture
def out(place):
    return place / "emoji32-sweep"


def test_nothing_outlives_it(tmp_path):
    cluster = started()
    try:
        daemons = len(cluster.processes())
        command = "trap '' TERM; srun sh -c \"trap '' TERM; touch begun; sleep 600\""
        cluster.ask("sbatch", "--output=/dev/null", f"--wrap={command}", cwd=tmp_path)
        end = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert len(cluster.processes()) > daemons
    finally:
        cluster.close()
    assert cluster.processes() == []
    assert not cluster.folder.exists()


def until(out, count, seconds=300):
    end = time.monotonic() + seconds
    while shards(out) < count:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert shards(out) < 120


def test_two_nodes(cluster, submit, place, out, finished):
    found = cluster.ended(submit(SCRIPT))
    said = (place / "said.txt").read_text()
    assert (found["JobState"], found["NumNodes"], found["NumTasks"]) == ("COMPLETED", "2", "2"), (
        said
    )
    assert found["Restarts"] == "0"
    assert contents(out) == finished


def test_sigterm_puts_it_back(cluster, submit, place, out, finished):
    number = submit(SCRIPT)
    until(out, 8)
    cluster.ask("scancel", "--signal=TERM", number)
    found = cluster.ended(number)
    said = (place / "said.txt").read_text()
    assert (found["JobState"], found["Restarts"]) == ("COMPLETED", "1"), said
    assert said.count("stopped by SIGTERM: the same command goes on from here") == 2
    assert contents(out) == finished


@pytest.mark.parametrize("who", [0, 1])
def test_task_killed(cluster, submit, place, out, finished, who):
    number = submit(SCRIPT, "--patience", str(PATIENCE))
    until(out, 8)
    (lease,) = (out / "leases").glob(f"*{who:06d}.json")
    os.kill(json.loads(lease.read_text())["pid"], signal.SIGKILL)
    found = cluster.ended(number)
    said = (place / "said.txt").read_text()
    assert (found["JobState"], found["Restarts"]) == ("COMPLETED", "1"), said
    assert f"gave no sign of life for {PATIENCE} s: others take over its shards" in said
    assert contents(out) == finished


def test_array(cluster, submit, place, out, finished):
    command = (
        f"densityguide run configs/emoji32-sweep.toml --out {out} "
        "--processes 2 --process $SLURM_ARRAY_TASK_ID"
    )
    number = submit("--array=0-1", "--requeue", f"--wrap={command}")
    for task in (0, 1):
        found = cluster.ended(f"{number}_{task}")
        assert found["JobState"] == "COMPLETED", (place / "said.txt").read_text()
    assert contents(out) == finished
