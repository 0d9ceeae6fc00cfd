"""Several processes of a job, here as threads: whatever happens to one, the others end or take
over, and the folder holds the bytes of one process."""

import importlib
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from outputs import contents

from densityguide.app import jobs
from densityguide.app.jobs import Hosts, Output, Sampling, hosts, peers
from densityguide.app.jobs.work import Work
from densityguide.disk import storage
from densityguide.disk.interrupts import Preempted

JOB = Sampling("world:gaussian", count=12, output=Output(shard=2, block=2))
PATIENCE = 1.0
run = importlib.import_module("densityguide.app.jobs.run")  # whose name is that of the function


def prepare(job, known):
    """Work that costs nothing: what is tried here is who does it."""

    def summarise(found):
        return {"rows": [{"samples": len(found["x"]), "sum": int(found["x"].sum())}]}

    def nothing(*given):
        raise AssertionError

    if job.model != "world:gaussian":
        raise ValueError("unknown model")
    return Work(nothing, None, job.count, nothing, dict, ("x", "status"), summarise, {})


def computed(work, job, todo):
    for shard in todo:
        time.sleep(0.02)
        x = np.arange(shard.start, shard.stop)
        yield shard, {"x": x, "evaluations": 0 * x, "status": 0 * x}


@pytest.fixture(scope="module", autouse=True)
def cheap():
    patch = pytest.MonkeyPatch()
    patch.setitem(run.PREPARE, Sampling, prepare)
    patch.setattr(run, "computed", computed)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def alone(cheap, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    assert jobs.run(JOB, out) == {"rows": [{"samples": 12, "sum": 66}]}
    return contents(out)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(hosts, "say", lines.append)
    monkeypatch.setattr(peers, "say", lines.append)
    return lines


def failing(error, at):
    """A progress that fails at a shard."""

    @contextmanager
    def progress(total, done):
        def tick(record):
            if record["shard"] == at:
                raise error

        yield tick

    return progress


def together(out, *starts, met="m", patience=PATIENCE):
    """Run them as threads; what each returned or raised."""
    found = [None] * len(starts)

    def start(number, given):
        job = given.pop("job", JOB)
        here = Hosts(number, len(starts), patience, met)
        try:
            found[number] = jobs.run(job, out, here=here, **given)
        except BaseException as error:
            found[number] = error

    threads = [
        threading.Thread(target=start, args=pair)
        for pair in enumerate(starts)
        if pair[1] is not None
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60.0)
        assert not thread.is_alive()  # none hangs
    return found


def test_two_equal_one(alone, tmp_path, said):
    first, second = together(tmp_path / "out", {}, {}, patience=6.0)
    assert first == second
    assert contents(tmp_path / "out") == alone
    assert not (tmp_path / "out" / "leases").exists()
    assert said == []


@pytest.mark.parametrize("error", [ZeroDivisionError(), Preempted(), storage.StorageError("full")])
@pytest.mark.parametrize("who", [0, 1])
def test_another_takes_over(alone, tmp_path, said, error, who):
    starts = [{}, {}]
    starts[who] = {"progress": failing(error, at=2 + who)}
    found = together(tmp_path / "out", *starts)
    assert found[who] is error
    assert found[1 - who]["rows"][0]["samples"] == 12
    assert contents(tmp_path / "out") == alone
    assert any(line.startswith(f"process {who} (") and "ended: others" in line for line in said)


@pytest.mark.parametrize("who", [0, 1])
def test_one_that_was_killed_is_found_silent(alone, tmp_path, said, who):
    """Its lease is there and never changes; it had agreed."""
    out = storage.folder(tmp_path / "out")
    starts = [{}, {}]
    starts[who] = None
    dead = peers.Peers(Hosts(who, 2, PATIENCE, "m"), out)
    storage.write_json(dead._path(who), {"host": "a", "pid": 7, "plan": plan(tmp_path)})
    found = together(out, *starts)
    assert found[1 - who]["rows"][0]["samples"] == 12
    assert contents(tmp_path / "out") == alone
    line = f"process {who} (a, process id 7) gave no sign of life for 1 s: others take over"
    assert sum(text.startswith(line) for text in said) == 1


def plan(tmp_path):
    """What processes of this job agree on."""
    keep = []
    patch = pytest.MonkeyPatch()
    patch.setattr(peers.Peers, "agree", lambda self, given: keep.append(given))
    jobs.run(JOB, tmp_path / "other")
    patch.undo()
    return peers.mark(keep[0])


def test_one_that_never_comes(alone, tmp_path, said):
    found = together(tmp_path / "out", None, {}, {})
    assert found[1] == found[2]
    assert contents(tmp_path / "out") == alone
    assert any(line.startswith("process 0 gave no sign of life") for line in said)


def test_those_that_do_not_meet_wait_for_nobody(alone, tmp_path, said):
    together(tmp_path / "out", None, None, {}, met="")
    assert contents(tmp_path / "out") == alone
    assert said == []


def test_a_slow_one_is_waited_for_by_name(alone, tmp_path, said, monkeypatch):
    """It lives, so its shards stay its own."""
    monkeypatch.setattr(peers, "FIRST", 0.1)
    slow = threading.Event()

    @contextmanager
    def progress(total, done):
        yield lambda record: slow.wait(0.6)

    together(tmp_path / "out", {}, {"progress": progress}, patience=6.0)
    assert contents(tmp_path / "out") == alone
    assert any(
        line.startswith("process 0 waits for process 1 (") and "to write shards" in line
        for line in said
    )
    assert not any("others take over" in line for line in said)


@pytest.mark.parametrize("who", [0, 1])
def test_a_refusal_is_everybodys_and_leaves_nothing(tmp_path, said, who):
    starts = [{}, {}, {}]
    starts[who] = {"job": Sampling("world:none", 12)}
    found = together(tmp_path / "out", *starts)
    assert "unknown" in str(found[who])
    for other in {0, 1, 2} - {who}:
        assert str(found[other]) == f"process {who} cannot start; its own message says why"
    assert contents(tmp_path / "out") == {}


def test_a_fault_before_the_start_is_told_too(tmp_path, said, monkeypatch):
    def broken(job, known):
        if job.seed:
            raise ZeroDivisionError
        return prepare(job, known)

    monkeypatch.setitem(run.PREPARE, Sampling, broken)
    found = together(tmp_path / "out", {}, {"job": Sampling("world:gaussian", 12, seed=1)})
    assert isinstance(found[1], ZeroDivisionError)
    assert str(found[0]) == "process 1 cannot start; its own message says why"
    assert contents(tmp_path / "out") == {}


def test_different_jobs_are_refused_together(tmp_path, said):
    found = together(tmp_path / "out", {}, {"job": Sampling("world:gaussian", 12, seed=1)})
    assert all("started with different jobs" in str(error) for error in found)
    assert contents(tmp_path / "out") == {}


def test_shards_that_vanish_are_made_again(alone, tmp_path, said):
    """The folder of shards is removed while the job runs."""
    out, removed = tmp_path / "out", []

    @contextmanager
    def progress(total, done):
        def tick(record):
            if record["shard"] == 4 and not removed:
                removed.append(record)
                storage.remove(storage.folder(out) / "shards")

        yield tick

    jobs.run(JOB, out, progress=progress)
    assert contents(out) == alone


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"processes": 2}, "expected --processes with --process"),
        ({"coordinator": "a:1", "process": 0}, "expected --processes with --process"),
        ({"processes": 2, "process": 0, "automatic": True}, "or --distributed alone"),
        ({"processes": 2, "process": 2}, r"expected --process in 0 \.\. 1, got 2"),
        ({"patience": 0.0}, "expected --patience above 0 seconds, got 0.0"),
        ({"patience": float("nan")}, "expected --patience above 0 seconds, got nan"),
    ],
)
def test_who_is_where_is_asked_for_in_full(given, message):
    with pytest.raises(ValueError, match=message):
        hosts.join(**given)


@pytest.mark.parametrize(
    ("environ", "one"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, True),
        ({"SLURM_STEP_TASKS_PER_NODE": "1"}, True),
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, False),
        ({"SLURM_STEP_TASKS_PER_NODE": "2,1"}, False),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, True),
        ({}, False),
    ],
)
def test_a_process_that_has_its_host_alone_takes_all_devices(environ, one):
    assert hosts.has_host_alone(environ) == one
