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


def finish(start, out, devices=1) -> None:
    process = start(out, devices=devices)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def two_processes() -> tuple[str, ...]:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    return ("--coordinator", f"localhost:{port}", "--processes", "2", "--process")


def until(process, out, count) -> None:
    while shards(out) < count and process.poll() is None:
        time.sleep(0.002)


def full_disk(start, out) -> None:
    """A limit on the size of files stands for the disk: the write fails half-way."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    process = start(out, preexec_fn=limited)
    _, errors = process.communicate()
    assert process.returncode == 74, errors
    line = errors.splitlines()[-1]
    assert line.startswith("error: cannot write ")
    assert "make room" in line
    assert not list(out.glob("shards/*"))


def killed(start, out, count, seconds) -> None:
    """Some time after it has that many shards."""
    process = start(out)
    until(process, out, count)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def terminated(start, out, count) -> None:
    process = start(out)
    until(process, out, count)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 75, errors
    assert errors == "stopped by SIGTERM: the same command goes on from here\n"
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]


def test_stopped_again_and_again(start, finished, tmp_path):
    """That it may be killed at any write is shown in test_kill_points.py; here real processes are
    stopped in every way, one after another in one folder."""
    moments = random.Random(0)
    out, seen = tmp_path / "out", []
    full_disk(start, out)
    killed(start, out, 0, 3.0 * moments.random())  # mostly while it starts
    for stop in (killed, terminated, killed):
        had = shards(out)
        stop(start, out, had + 1, *([0.02 * moments.random()] if stop is killed else []))
        seen.append(shards(out) - had)
    assert min(seen) > 0  # each began where the one before it was stopped
    assert shards(out) < 120
    finish(start, out)
    assert contents(out) == finished


def test_damaged_shards_are_done_again(start, finished, tmp_path):
    """By three devices, which does not show."""
    out = tmp_path / "out"
    for name, content in finished.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    folder = out / "shards"
    (folder / "000003.npz").write_bytes((folder / "000003.npz").read_bytes()[:-100])
    (folder / "000005.json").unlink()
    damaged = bytearray((folder / "000007.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (folder / "000007.npz").write_bytes(damaged)
    for number in range(20, 60):
        (folder / f"{number:06d}.npz").unlink()
    untouched = (folder / "000001.npz").stat().st_mtime_ns
    finish(start, out, devices=3)
    assert contents(out) == finished
    assert (folder / "000001.npz").stat().st_mtime_ns == untouched


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


def test_two_processes_equal_one(start, finished, tmp_path):
    """Under jax.distributed on loopback, two simulated devices each."""
    out, by_hand = tmp_path / "out", two_processes()
    both = [start(out, *by_hand, str(number), devices=2) for number in range(2)]
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
