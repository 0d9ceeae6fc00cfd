"""Jobs in a bucket of Google's: an emulator on this machine, through gcsfs."""

import threading
import time

import pytest
from outputs import contents, created_at_once

pytest.importorskip("gcsfs", reason="gcsfs is not installed: pip install densityguide[gcs]")
pytest.importorskip("gcp_storage_emulator", reason="it is not installed: it comes with test")

import gcsfs
from google_server import Server
from test_peers import JOB, cheap, prepare, said  # noqa: F401  (fixtures)

from densityguide.app import jobs
from densityguide.app.jobs import Hosts, Output, Sampling
from densityguide.disk import leases, storage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    server = Server("bucket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server.address)
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it asks another service
        gcsfs.GCSFileSystem.clear_instance_cache()
        yield server
    gcsfs.GCSFileSystem.clear_instance_cache()
    server.close()


def stored(out) -> dict[str, bytes]:
    place = storage.folder(out)
    inner = out.removeprefix("gs://")
    found = place.fs.find(inner)
    return {name.removeprefix(f"{inner}/"): place.fs.cat_file(name) for name in found}


@pytest.mark.parametrize("kind", ["npz", "zarr"])
def test_a_bucket_is_as_good_as_a_disk(server, cheap, said, tmp_path, kind):  # noqa: F811
    """The same bytes; lost and damaged objects are made again; of two runs one is refused; what
    lies there is opened."""
    job = Sampling(JOB.model, count=JOB.count, output=Output(2, 2, kind))
    out = f"gs://bucket/{kind}"
    summary = jobs.run(job, tmp_path / "out")
    alone = contents(tmp_path / "out")
    assert jobs.run(job, out) == summary
    assert stored(out) == alone
    place = storage.folder(out)
    storage.remove(place / "shards" / f"000002.{kind}")
    storage.remove(place / "shards" / "000004.json")
    storage.write(place / "shards" / "000005.json", b"{")
    with (
        leases.locked(place, 0.9, said.append),
        pytest.raises(ValueError, match=rf"another run \(.*\) is at work in {out}"),
    ):
        jobs.run(job, out, here=Hosts(patience=0.9))
    assert jobs.run(job, out) == summary
    assert stored(out) == alone
    found = jobs.open(out)
    found.check()
    assert found["x"][3:9].tolist() == [3, 4, 5, 6, 7, 8]


def test_processes_share_a_bucket(server, cheap, said, tmp_path):  # noqa: F811
    jobs.run(JOB, tmp_path / "out")
    out = "gs://bucket/both"
    threads = [
        threading.Thread(target=jobs.run, args=(JOB, out), kwargs={"here": Hosts(n, 2, 20.0, "m")})
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60.0)
    assert stored(out) == contents(tmp_path / "out")


def test_of_two_that_start_at_once_one_gets_it(server):
    """By a conditional write, which the emulator does not know: see google_server.py."""
    assert created_at_once(storage.folder("gs://bucket/at-once") / "lock") == 1


def test_a_bucket_that_does_not_exist_is_one_line(server, cheap):  # noqa: F811
    with pytest.raises(ValueError, match=r"cannot write gs://nowhere/.*make the bucket first"):
        jobs.run(JOB, "gs://nowhere/job")


def test_killed_and_started_again(server, start, finished):
    out = "gs://bucket/killed"
    process = start(out, "--patience", "2")
    while process.poll() is None and len(storage.names(storage.folder(out) / "shards")) < 60:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert "summary.json" not in storage.names(storage.folder(out))
    process = start(out, "--patience", "2")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "waiting 2 s for signs of life" in errors
    assert stored(out) == finished
