"""Files are there whole or not at all, and damage is noticed."""

import errno
import importlib.util
import os
import re

import numpy as np
import pytest
from upath import UPath

from densityguide.app.jobs import arrays
from densityguide.disk import atomic, leases, storage
from densityguide.disk.atomic import PART

ARRAYS = {
    "x": np.arange(24, dtype=np.float32).reshape(4, 3, 2),
    "status": np.zeros(4, np.int32),
    "images": np.full((4, 2, 2, 1), 200, np.uint8),
}


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    if request.param == "local":
        yield storage.folder(tmp_path / "out")
        return
    place = storage.folder(f"memory://{tmp_path}/out")
    yield place
    place.fs.store.clear()


@pytest.mark.parametrize("name", ["a.npz", "a.zarr"])
def test_arrays_round_trip(place, name):
    first = arrays.write(place / name, ARRAYS)
    assert arrays.digest(place / name) == first
    found = arrays.read(place / name, list(ARRAYS))
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == array.dtype
    assert arrays.write(place / name, ARRAYS) == first
    assert arrays.write(place / name, {"x": ARRAYS["x"] + 1}) != first
    assert [entry.name for entry in place.iterdir()] == [name]


def test_damage_changes_the_digest(tmp_path):
    for name in ("a.npz", "a.zarr"):
        path = UPath(tmp_path / name)
        written = arrays.write(path, ARRAYS)
        part = path if name == "a.npz" else path / "x" / "0.0.0"
        part.write_bytes(part.read_bytes()[:-1])
        assert arrays.digest(path) != written
    assert arrays.digest(UPath(tmp_path / "none.npz")) is None
    assert arrays.digest(UPath(tmp_path / "none.zarr")) is None


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, call):
    path = storage.folder(tmp_path) / "a.json"
    storage.write_json(path, {"version": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(storage.StorageError, match="No space left on device"):
        storage.write_json(path, {"version": 2})
    assert storage.read_json(path) == {"version": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_file_where_a_folder_should_be_is_one_line(tmp_path):
    (tmp_path / "shards").write_text("")
    place = storage.folder(tmp_path) / "shards" / "a.json"
    with pytest.raises(ValueError, match="a file lies where a folder must be"):
        storage.remove(place)
    with pytest.raises(ValueError, match="a file lies where a folder must be"):
        storage.write_json(place, {})


def test_half_written_files_are_swept_away(tmp_path):
    (tmp_path / f".a.npz.123{PART}").write_bytes(b"half")
    (tmp_path / f".a.zarr.xyz{PART}").mkdir()
    (tmp_path / "a.npz").write_bytes(b"whole")
    storage.sweep(storage.folder(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_damaged_json_counts_as_none(place):
    storage.write(place / "a.json", b'{"version": ')
    assert storage.read_json(place / "a.json") is None
    assert storage.read_json(place / "none.json") is None


def held(place, patience=0.3, said=None):
    return leases.locked(place, patience, (said if said is not None else []).append)


def test_a_folder_is_held_once(place):
    with held(place), pytest.raises(ValueError, match=r"another run.* is at work"), held(place):
        pass
    with held(place):
        pass


def test_a_lease_that_nobody_renews_is_taken(tmp_path):
    place, said = storage.folder(f"memory://{tmp_path}/out"), []
    left = {"host": "a", "pid": 1, "renewal": 9}
    storage.write_json(place / leases.FOLDER / leases.LOCK, left)
    with held(place, said=said):
        assert storage.read_json(place / leases.FOLDER / leases.LOCK) != left
    assert len(said) == 1
    assert said[0].startswith(
        "waiting 0.3 s for signs of life of the run (a, process id 1) that ho"
    )
    assert not storage.names(place / leases.FOLDER)


def test_life_is_told_by_change_and_not_by_clocks(tmp_path):
    """Whatever the writer's clock says: only the reader's own counts."""
    now = [0.0]
    watch, path = leases.Watch(10.0, lambda: now[0]), storage.folder(tmp_path) / "lease.json"
    assert watch.look(path) is None
    seen = []
    for content in ({"renewal": 1}, {"renewal": 2}, {"renewal": 2}, {"renewal": 2}, {"renewal": 3}):
        now[0] += 6.0
        storage.write_json(path, content)
        os.utime(path.path, (0, 0))
        watch.look(path)
        seen.append(watch.is_silent(path))
    assert seen == [False, False, False, True, False]
    storage.remove(path)
    assert watch.look(path) == {"renewal": 3}  # what it said last is still known


def test_what_two_create_one_gets(place):
    path = place / "a.json"
    assert [storage.create(path, content) for content in (b"1", b"2")] == [True, False]
    assert storage.read(path) == b"1"


def test_the_lock_of_another_program_stays(tmp_path):
    (tmp_path / ".lock").write_text("mine")
    with held(storage.folder(tmp_path)):
        pass
    assert (tmp_path / ".lock").read_text() == "mine"


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="expected a folder or an address for --out, got none"):
        storage.folder("")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        storage.folder(tmp_path / "file")
    with pytest.raises(ValueError, match="expected a folder or an address"):
        storage.folder("nowhere://bucket/job")


class NoCredentialsError(Exception):
    """As the libraries for addresses raise, which knows no standard."""


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (
            NoCredentialsError("Unable to locate credentials"),
            storage.StorageError,
            "Unable to locate",
        ),
        (FileNotFoundError("The specified bucket does not exist"), ValueError, "make the bucket"),
        (PermissionError(13, "Access Denied"), storage.StorageError, "Access Denied"),
    ],
)
def test_what_an_address_refuses_is_one_line(raised, kind, words):
    with pytest.raises(kind, match=words), storage.writing(UPath("memory://bucket/job")):
        raise raised


def test_an_address_that_cannot_be_reached_is_one_line(monkeypatch):
    def refuse(path):
        raise NoCredentialsError("Unable to locate\ncredentials")

    monkeypatch.setattr(type(UPath("memory://x")), "is_file", refuse)
    with pytest.raises(ValueError, match=r"can be reached, got memory://x \(Unable to locate cred"):
        storage.folder("memory://x")


@pytest.mark.parametrize(
    ("address", "package", "wanted"),
    [
        ("s3://b/x", "s3fs", '"densityguide[s3]"'),
        ("gs://b/x", "gcsfs", '"densityguide[gcs]"'),
        ("az://b/x", "adlfs", "adlfs"),
    ],
)
def test_a_missing_package_is_named(address, package, wanted):
    if importlib.util.find_spec(package):
        pytest.skip("it is installed")
    told = f"need the package {package}: pip install {wanted}"
    with pytest.raises(ValueError, match=re.escape(told)):
        storage.folder(address)


def test_a_write_that_fails_leaves_no_part(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail():
        with atomic.place(tmp_path, "a", "b") as hidden:
            (hidden / "a").write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"
    with atomic.place(tmp_path, "a", "b", "c") as hidden:
        (hidden / "a").write_text("new")
        (hidden / "b").mkdir()
        (hidden / "b" / "inner").write_text("one")
    with atomic.place(tmp_path, "b") as hidden:
        (hidden / "b").mkdir()
        (hidden / "b" / "other").write_text("two")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["other"]
    with pytest.raises(IsADirectoryError):
        atomic.write(tmp_path / "b", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
