"""configs/slurm.sh, as it is, on a SLURM of two nodes on this machine. Whatever happens to its
tasks, the job ends finished, with the bytes of one process."""

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
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


@pytest.fixture(scope="module")
def cluster():
    try:
        cluster = slurm.Cluster()
    except RuntimeError as error:
        pytest.skip(str(error))
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


def said(place):
    return (place / "said.txt").read_text()


def task(out, who):
    """The process id of a task of the latest start."""
    leases = sorted(
        (out / "leases").glob(f"*{who:06d}.json"), key=lambda path: path.stat().st_mtime_ns
    )
    return json.loads(leases[-1].read_text())["pid"]


def held(out, more):
    """Both tasks of the latest start, stopped once there are so many more shards."""
    until(out, min(shards(out) + more, 119))
    tasks = [task(out, who) for who in (0, 1)]
    for number in tasks:
        os.kill(number, signal.SIGSTOP)
    assert shards(out) < 120
    return tasks


def until(out, count, seconds=300):
    end = time.monotonic() + seconds
    while shards(out) < count:
        assert time.monotonic() < end
        time.sleep(0.01)


def is_told(number):
    """Whether SIGTERM waits for a stopped process, or has ended it."""
    try:
        words = Path(f"/proc/{number}/status").read_text().split()
    except OSError:
        return True
    pending = [int(words[words.index(name) + 1], 16) for name in ("SigPnd:", "ShdPnd:")]
    return any(mask & 1 << signal.SIGTERM - 1 for mask in pending)


def test_two_nodes_and_an_array(cluster, submit, place, out, finished):
    """At the same time: two tasks that meet, and two of an array that do not."""
    array = (
        f"densityguide run configs/emoji32-sweep.toml --out {place / 'array'} "
        "--processes 2 --process $SLURM_ARRAY_TASK_ID"
    )
    numbers = submit(SCRIPT), submit("--array=0-1", "--requeue", f"--wrap={array}")
    found = cluster.ended(numbers[0])
    told = [found[name] for name in ("JobState", "NumNodes", "NumTasks", "Restarts")]
    assert told == ["COMPLETED", "2", "2", "0"], said(place)
    for number in (0, 1):
        state = cluster.ended(f"{numbers[1]}_{number}")["JobState"]
        assert state == "COMPLETED", said(place)
    assert contents(out) == finished
    assert contents(place / "array") == finished


def test_its_time_is_up_and_then_a_node_is_lost(cluster, submit, place, out, finished):
    """SLURM's own signal before the limit, and a machine that is gone: it is put back both times.
    The tasks are stopped meanwhile, as if they had more to do than time."""
    number = submit("--signal=TERM@80", SCRIPT)
    tasks, end = held(out, 8), time.monotonic() + 100
    # SLURM looks every 30 s, and sends its signal up to 30 s early: at the next look.
    minutes = (cluster.seconds(number) + 40) // 60 + 1
    cluster.limit(number, minutes)
    while not all(is_told(one) for one in tasks):
        assert time.monotonic() < end, cluster.job(number)
        time.sleep(0.1)
    for one in tasks:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGCONT)
    cluster.limit(number, 60)
    tasks = held(out, 8)
    assert said(place).count("stopped by SIGTERM: the same command goes on from here") == 2
    assert cluster.job(number)["Restarts"] == "1"
    cluster.lose(tasks[1])
    os.kill(tasks[0], signal.SIGCONT)
    cluster.until_pending(number)
    cluster.find()
    found = cluster.ended(number)
    assert (found["JobState"], found["NumNodes"]) == ("COMPLETED", "2"), said(place)
    assert int(found["Restarts"]) >= 2
    assert contents(out) == finished


def test_a_task_is_killed(cluster, submit, place, out, finished):
    """The one that leads, on the node that runs the script."""
    number = submit(SCRIPT, "--patience", str(PATIENCE))
    until(out, 8)
    os.kill(task(out, 0), signal.SIGKILL)
    found = cluster.ended(number)
    assert (found["JobState"], found["Restarts"]) == ("COMPLETED", "1"), said(place)
    assert f"gave no sign of life for {PATIENCE} s: others take over its shards" in said(place)
    assert contents(out) == finished


def test_nothing_outlives_it(cluster, place):
    """The last one: it ends the cluster, with a job that does not heed SIGTERM."""
    daemons = len(cluster.processes())
    command = "trap '' TERM; srun sh -c \"trap '' TERM; touch begun; sleep 600\""
    cluster.ask("sbatch", "--output=/dev/null", f"--wrap={command}", cwd=place)
    end = time.monotonic() + 60
    while not (place / "begun").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert len(cluster.processes()) > daemons
    cluster.close()
    assert cluster.processes() == []
    assert not cluster.folder.exists()
