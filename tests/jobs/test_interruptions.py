"""However a job is stopped, starting it again ends with the bytes of an uninterrupted one."""

import random
import resource
import signal
import socket
import time

import pytest
from outputs import contents

pytestmark = pytest.mark.slow


def shards(out) -> int:
    return len(list(out.glob("shards/*.json")))


def finish(start, out) -> None:
    process = start(out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def two_processes() -> tuple[str, ...]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    return ("--coordinator", f"localhost:{port}", "--processes", "2", "--process")


def test_killed_twenty_times(start, finished, tmp_path):
    moments = random.Random(0)
    out, seen = tmp_path / "out", set()
    for number in range(20):
        process, begun = start(out), time.monotonic()
        had = shards(out)
        # Every fourth at any moment, so mostly while starting; the others once there is more to
        # lose than before.
        patience = 60.0 if number % 4 else 5.0 * moments.random()
        while process.poll() is None and time.monotonic() < begun + patience:
            if shards(out) > had:
                time.sleep(0.02 * moments.random())
                break
            time.sleep(0.002)
        process.kill()
        process.communicate()
        seen.add(shards(out))
    assert len(seen - {0, 120}) >= 8  # it was stopped half-way, at different places
    finish(start, out)
    assert contents(out) == finished


def test_sigterm_ends_with_its_own_status(start, finished, tmp_path):
    out = tmp_path / "out"
    process = start(out)
    while not shards(out) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert errors == "stopped by SIGTERM: the same command goes on from here\n"
    assert 0 < shards(out) < 120
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]
    finish(start, out)
    assert contents(out) == finished


def test_full_disk(start, finished, tmp_path):
    """A limit on the size of files stands for the disk: the write fails half-way."""
    out = tmp_path / "out"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    process = start(out, preexec_fn=limited)
    _, errors = process.communicate()
    assert process.returncode == 74, errors
    line = errors.splitlines()[-1]
    assert line.startswith("error: cannot write ")
    assert "make room" in line
    assert not list(out.glob("shards/*"))
    finish(start, out)
    assert contents(out) == finished


def test_damaged_shards_are_done_again(start, finished, tmp_path):
    out = tmp_path / "out"
    finish(start, out)
    shards = out / "shards"
    (shards / "000003.npz").write_bytes((shards / "000003.npz").read_bytes()[:-100])
    (shards / "000005.json").unlink()
    damaged = bytearray((shards / "000007.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (shards / "000007.npz").write_bytes(damaged)
    untouched = (shards / "000001.npz").stat().st_mtime_ns
    finish(start, out)
    assert contents(out) == finished
    assert (shards / "000001.npz").stat().st_mtime_ns == untouched


def test_two_runs_on_one_folder(start, finished, tmp_path):
    out = tmp_path / "out"
    first = start(out)
    while not (out / "manifest.json").exists() and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # it holds the folder, however long the second takes
    second = start(out)
    _, errors = second.communicate()
    assert second.returncode == 2
    assert "another run is at work" in errors.splitlines()[-1]
    first.kill()  # the lock dies with it
    first.communicate()
    finish(start, out)
    assert contents(out) == finished


def test_devices_do_not_show(start, finished, tmp_path):
    out = tmp_path / "out"
    process = start(out, devices=3)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert contents(out) == finished


def test_two_processes_equal_one(start, finished, tmp_path):
    """Under jax.distributed on loopback, four simulated devices each."""
    out, by_hand = tmp_path / "out", two_processes()
    both = [start(out, *by_hand, str(number), devices=4) for number in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert contents(out) == finished


def test_processes_that_do_not_meet_equal_one(start, finished, tmp_path):
    """As those of a job array, the second long before the first."""
    out = tmp_path / "out"
    both = [start(out, "--processes", "2", "--process", "1", "--patience", "3")]
    while shards(out) < 3 and both[0].poll() is None:
        time.sleep(0.01)
    both.append(start(out, "--processes", "2", "--process", "0", "--patience", "3"))
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert contents(out) == finished


def test_processes_with_different_settings_refuse_together(start, tmp_path):
    by_hand = two_processes()
    both = [
        start(tmp_path / "out", "--set", f"seed={number}", *by_hand, str(number))
        for number in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [2, 2], errors
    assert all("started with different jobs" in text.splitlines()[-1] for text in errors)
    assert not list((tmp_path / "out").rglob("*.json"))
