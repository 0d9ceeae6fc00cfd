"""One of two processes is lost; the other takes over, and the bytes are those of one process."""

import resource
import signal
import time

import pytest
from outputs import contents
from test_interruptions import shards, two_processes

pytestmark = pytest.mark.slow

PATIENCE = 5


@pytest.fixture
def pair(start, tmp_path):
    """``pair(options)`` starts two that meet, each with options of its own; they are killed at the
    end if they still run."""
    begun = []

    def pair(*others):
        by_hand = two_processes()
        for number, given in enumerate(others):
            options = (*by_hand, str(number), "--patience", str(PATIENCE))
            begun.append(start(tmp_path / "out", *options, **given))
        return begun

    yield pair
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until(out, count, processes):
    while shards(out) < count and all(process.poll() is None for process in processes):
        time.sleep(0.01)
    assert shards(out) < 120


def ended(process, seconds=90):
    _, errors = process.communicate(timeout=seconds)
    return process.returncode, errors


@pytest.mark.parametrize("who", [0, 1])
def test_killed(pair, finished, tmp_path, who):
    both = pair({}, {})
    until(tmp_path / "out", 8, both)
    both[who].kill()
    status, errors = ended(both[1 - who])
    assert status == 0, errors
    assert f"process {who} (" in errors
    assert f"gave no sign of life for {PATIENCE} s: others take over its shards" in errors
    assert contents(tmp_path / "out") == finished


def test_sigterm_to_one(pair, finished, tmp_path):
    both = pair({}, {})
    until(tmp_path / "out", 8, both)
    both[0].send_signal(signal.SIGTERM)
    status, errors = ended(both[0])
    assert status == 75, errors
    assert errors.endswith("stopped by SIGTERM: the same command goes on from here\n")
    status, errors = ended(both[1])
    assert status == 0, errors
    assert "ended: others take over its shards" in errors
    assert contents(tmp_path / "out") == finished


def test_full_disk_of_one(pair, finished, tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    both = pair({}, {"preexec_fn": limited})
    status, errors = ended(both[1])
    assert status == 74, errors
    assert "error: cannot write " in errors
    status, errors = ended(both[0])
    assert status == 0, errors
    assert contents(tmp_path / "out") == finished


def test_sigterm_to_both_is_a_requeue(pair, start, finished, tmp_path):
    both = pair({}, {})
    until(tmp_path / "out", 8, both)
    for process in both:
        process.send_signal(signal.SIGTERM)
    assert [ended(process)[0] for process in both] == [75, 75]
    assert ended(start(tmp_path / "out"))[0] == 0
    assert contents(tmp_path / "out") == finished
