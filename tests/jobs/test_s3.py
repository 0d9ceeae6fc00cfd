"""Jobs in a bucket of S3: moto's server on this machine, through universal-pathlib and s3fs."""

import importlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from outputs import contents, created_at_once

pytest.importorskip("s3fs", reason="s3fs is not installed: pip install densityguide[s3]")
pytest.importorskip("moto.server", reason="moto is not installed: it comes with the extra test")

import s3fs
from servers import Server, never
from test_peers import JOB, cheap, prepare, said  # noqa: F401  (fixtures)

from densityguide.app import jobs
from densityguide.app.commands.endings import ended
from densityguide.app.jobs import Hosts, Output, Sampling, arrays
from densityguide.disk import leases, storage

pytestmark = pytest.mark.slow

KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
names = (f"job{number}" for number in itertools.count())
run = importlib.import_module("densityguide.app.jobs.run")


@pytest.fixture(scope="module")
def server():
    server = Server()
    patch = pytest.MonkeyPatch()
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": server.address}.items():
        patch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield server
    patch.undo()
    s3fs.S3FileSystem.clear_instance_cache()
    server.close()


@pytest.fixture
def out(server):
    server.asked.clear()
    yield f"s3://bucket/{next(names)}"
    server.busy = server.denied = never


def stored(out) -> dict[str, bytes]:
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    inner = out.removeprefix("s3://")
    return {name.removeprefix(f"{inner}/"): fs.cat_file(name) for name in fs.find(inner)}


@pytest.fixture(scope="module")
def alone(cheap, tmp_path_factory):  # noqa: F811
    found = {}
    for kind in ("npz", "zarr"):
        out = tmp_path_factory.mktemp(kind) / "out"
        jobs.run(formatted(kind), out)
        found[kind] = contents(out)
    return found


def formatted(kind):
    return Sampling(JOB.model, count=JOB.count, output=Output(2, 2, kind))


@pytest.mark.parametrize("kind", ["npz", "zarr"])
def test_the_bytes_are_those_of_a_disk(server, alone, out, kind):
    summary = jobs.run(formatted(kind), out)
    assert stored(out) == alone[kind]
    assert summary == jobs.run(formatted(kind), out)
    assert stored(out) == alone[kind]


@pytest.mark.parametrize("kind", ["npz", "zarr"])
def test_what_is_missing_or_damaged_is_made_again(server, alone, out, kind):
    jobs.run(formatted(kind), out)
    fs = s3fs.S3FileSystem()
    inner = out.removeprefix("s3://")
    part = "" if kind == "npz" else "/x/0"
    files = [f"{inner}/shards/00000{number}" for number in range(6)]
    content = fs.cat_file(f"{files[0]}.{kind}{part}")
    fs.pipe_file(f"{files[0]}.{kind}{part}", content[:-3])  # cut short
    altered = bytearray(fs.cat_file(f"{files[1]}.{kind}{part}"))
    altered[-1] ^= 1
    fs.pipe_file(f"{files[1]}.{kind}{part}", bytes(altered))
    fs.rm(f"{files[2]}.{kind}", recursive=True)
    fs.rm(f"{files[3]}.json")
    fs.pipe_file(f"{files[4]}.json", b'{"shard": ')
    fs.pipe_file(f"{inner}/summary.json", b"{")
    fs.pipe_file(f"{inner}/shards/notes.txt", b"of somebody else")
    jobs.run(formatted(kind), out)
    assert stored(out) == alone[kind] | {"shards/notes.txt": b"of somebody else"}


def test_requests_that_a_job_takes(server, alone, out):
    jobs.run(JOB, out)
    first = dict(server.asked)
    server.asked.clear()
    jobs.run(JOB, out)
    again = dict(server.asked)
    print(first, "again:", again)
    assert first["PUT"] <= 2 * 6 + 6  # two a shard; manifest twice, summary, lease
    assert first["LIST"] <= 24  # of which none is for a shard
    assert again.get("PUT", 0) <= 3
    assert again["GET"] <= 2 * 6 + 10


def test_slow_down_is_tried_again(server, alone, out):
    """Every third request is refused once."""
    count = itertools.count()
    server.busy = lambda method, path: next(count) % 3 == 2
    jobs.run(JOB, out)
    server.busy = never
    assert server.asked["503"] > 5
    assert stored(out) == alone["npz"]


def test_a_store_that_stays_busy_ends_it_in_one_line(server, alone, out, capsys):
    server.busy = lambda method, path: method == "PUT" and "000003" in path
    begun = time.monotonic()
    status, _ = ended(lambda: jobs.run(JOB, out))
    assert time.monotonic() - begun < 120.0  # tries are bounded
    assert status == 74
    line = capsys.readouterr().err
    assert line.startswith("error: cannot write s3://bucket/job")
    assert "reduce your request rate" in line
    assert line.count("\n") == 1
    server.busy = never
    jobs.run(JOB, out)
    assert stored(out) == alone["npz"]


def test_an_object_that_may_not_be_read_is_one_line(server, alone, out, capsys):
    jobs.run(JOB, out)
    server.denied = lambda method, path: method == "GET" and path.endswith("000002.npz")
    status, _ = ended(lambda: jobs.run(JOB, out))
    assert status == 74
    line = capsys.readouterr().err
    assert "Access Denied): see that it can be read, then start again" in line
    assert line.count("\n") == 1


def test_a_bucket_that_does_not_exist_is_one_line(server, cheap):  # noqa: F811
    with pytest.raises(ValueError, match=r"cannot write s3://nowhere/.*make the bucket first"):
        jobs.run(JOB, "s3://nowhere/job")


def test_a_bucket_that_vanishes_is_one_line(server, cheap):  # noqa: F811
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    fs.mkdir("brief")

    @contextmanager
    def progress(total, done):
        def tick(record):
            if record["shard"] == 2:
                fs.rm("brief", recursive=True)

        yield tick

    with pytest.raises(ValueError, match=r"cannot write s3://brief/.*make the bucket first"):
        jobs.run(JOB, "s3://brief/job", progress=progress)


def test_two_writers(server, alone, out, said):  # noqa: F811
    """The second is refused while the first lives, and takes over once it is silent."""
    place = storage.folder(out)
    said = []
    with (
        leases.locked(place, 0.9, said.append),
        pytest.raises(ValueError, match=r"another run \(.*\) is at work in s3://bucket/job"),
    ):
        jobs.run(JOB, out, here=Hosts(patience=0.9))
    left = {"host": "gone", "pid": 1, "renewal": 3}
    storage.write_json(place / leases.FOLDER / leases.LOCK, left)
    jobs.run(JOB, out, here=Hosts(patience=0.9))
    assert stored(out) == alone["npz"]


def test_of_two_that_start_at_once_one_gets_it(server, out):
    """By a conditional write."""
    assert created_at_once(storage.folder(out) / "lock") == 1


def test_processes_share_a_bucket(server, alone, out, said):  # noqa: F811
    found = [None, None]

    def start(number):
        found[number] = jobs.run(JOB, out, here=Hosts(number, 2, 20.0, "m"))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60.0)
    assert found[0] == found[1]
    assert stored(out) == alone["npz"]


def test_arrays_come_back(server, out):
    given = {"x": np.arange(6.0).reshape(2, 3), "status": np.zeros(2, np.int32)}
    for name in ("a.npz", "a.zarr"):
        path = storage.folder(out) / name
        written = arrays.write(path, given)
        assert arrays.digest(path) == written
        for key, array in arrays.read(path, list(given)).items():
            np.testing.assert_array_equal(array, given[key])


def test_no_credentials_is_one_line(server, tmp_path):
    """Without keys, and with every other place where they could come from switched off."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS")}
    clean |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    clean |= {"AWS_ENDPOINT_URL": server.address, "AWS_DEFAULT_REGION": "us-east-1"}
    (tmp_path / "job.toml").write_text('kind = "sample"\nmodel = "world:gaussian"\ncount = 4\n')
    process = subprocess.run(
        [sys.executable, "-m", "densityguide", "run", "job.toml", "--out", "s3://bucket/none"],
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2, process.stderr
    assert process.stderr.count("\n") == 1
    assert "Unable to locate credentials" in process.stderr


def test_killed_and_started_again(server, start, finished, out):
    """Processes killed at two moments; then the bytes of an uninterrupted run on a disk."""
    for shards in (3, 40):
        process = start(out, "--patience", "2")
        while process.poll() is None:
            there = storage.names(storage.folder(out) / "shards")
            if sum(name.endswith(".npz") for name in there) >= shards:
                break
            time.sleep(0.05)
        process.kill()
        process.communicate()
    process = start(out, "--patience", "2")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert stored(out) == finished
    assert json.loads(stored(out)["manifest.json"])["finished"]
