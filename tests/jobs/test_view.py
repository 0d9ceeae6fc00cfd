"""Results of a job as one mapping: what is read, what is refused, what is merged."""

import dataclasses
import shutil

import finished
import numpy as np
import pytest

from densityguide.app import jobs
from densityguide.app.jobs import arrays, config, merge
from densityguide.app.jobs.config import Alignment, Density, Output

FOUND = finished.stored(18)
FEW = {name: FOUND[name] for name in ("evaluations", "status", "x")}  # zarr takes its time
JOB = finished.sampling()
ZARR = dataclasses.replace(JOB, output=Output(finished.SIZE, 2, "zarr"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return finished.write(tmp_path_factory.mktemp("done") / "out", JOB, FOUND)


@pytest.fixture
def copy(done, tmp_path):
    """One that may be damaged."""
    return shutil.copytree(done.path, tmp_path / "out")


@pytest.mark.parametrize(
    "job", [JOB, pytest.param(ZARR, marks=pytest.mark.slow)], ids=["npz", "zarr"]
)
@pytest.mark.parametrize("place", ["{}/out", "memory://{}/out"])
def test_every_format_and_place_holds_what_was_stored(tmp_path, job, place):
    found = jobs.open(finished.write(place.format(tmp_path), job, FEW))
    assert set(found) == set(FEW)
    for name, array in FEW.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(np.asarray(found[name]), array)
    np.testing.assert_array_equal(found.row, np.arange(18))
    np.testing.assert_array_equal(found.sample, [*range(9), *range(9)])
    np.testing.assert_array_equal(found.guidance, np.repeat([0.4, 0.6], 9))
    found.check()


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        slice(3, 9),
        slice(None, None, -5),
        slice(9, 3),
        [17, 2, 2, 5],
        [],
        [[0, 1], [16, 17]],
        np.arange(18) % 5 == 0,
        np.zeros(18, bool),
        ...,
        (slice(2, 14), 3),
        (..., 0),
        (5, slice(1, 3)),
        ([1, 15], slice(None, None, 2)),
    ],
    ids=str,
)
def test_indices_mean_what_they_mean_to_numpy(done, index):
    whole = FOUND["x"]
    if isinstance(index, list) and not index:
        index = np.zeros(0, np.int64)
    got = jobs.open(done)["x"][index]
    np.testing.assert_array_equal(got, whole[index], strict=True)


def test_an_index_outside_is_refused(done):
    with pytest.raises(IndexError):
        jobs.open(done)["x"][18]


def test_nothing_is_read_that_was_not_asked_for(done, monkeypatch):
    read, opened = arrays.read, []

    def counted(path, names):
        opened.append((path.name, *names))
        return read(path, names)

    monkeypatch.setattr(arrays, "read", counted)
    found = jobs.open(done)
    assert not opened
    assert len(found["x"]) == 18
    assert not opened
    found["x"][5:7]
    assert opened == [("000001.npz", "x")]
    opened.clear()
    found["log_density"][found.sample == 8]
    assert opened == [("000002.npz", "log_density"), ("000004.npz", "log_density")]


def test_only_the_arrays_asked_for_leave_a_store(tmp_path, monkeypatch):
    found = jobs.open(finished.write(f"memory://{tmp_path}/out", ZARR, FEW))
    files, fetched = arrays._files, []

    def counted(group):
        fetched.append(group.name)
        return files(group)

    monkeypatch.setattr(arrays, "_files", counted)
    found["status"][:3]
    assert fetched == ["status"]


@pytest.mark.parametrize(
    "name", ["merged.npz", pytest.param("merged.zarr", marks=pytest.mark.slow)]
)
def test_merged_is_the_whole(done, tmp_path, name):
    found = jobs.open(done)
    wanted = FOUND | {"sample": found.sample, "guidance": found.guidance}
    merge.merge(found, tmp_path / name)
    place = arrays.storage.folder(tmp_path) / name
    assert {key: tuple(like) for key, like in arrays.layout(place).items()} == {
        key: (array.shape, array.dtype) for key, array in wanted.items()
    }
    for key, array in arrays.read(place, list(wanted)).items():
        np.testing.assert_array_equal(array, wanted[key])
    (tmp_path / "again").mkdir()
    merge.merge(found, tmp_path / "again" / name)
    assert arrays.digest(place) == arrays.digest(place.parent / "again" / name)


def test_pieces_of_any_length_become_chunks():
    array = np.arange(23)
    for cuts in ([], [1, 2, 3], [10, 20], [0, 0, 22]):
        pieces = [*merge._rows(iter(np.split(array, cuts)), 5)]
        assert [len(piece) for piece in pieces] == [5, 5, 5, 5, 3]
        np.testing.assert_array_equal(np.concatenate(pieces), array)


def test_an_unfinished_job_shows_what_is_there(tmp_path):
    place = finished.write(tmp_path / "out", JOB, FOUND, until=3)
    (tmp_path / "out" / "shards" / "000001.npz").unlink()
    with pytest.raises(ValueError, match=r"out is unfinished \(2 of 5 shards\): .* \(--partial\)"):
        jobs.open(place)
    found = jobs.open(place, partial=True)
    rows = [0, 1, 2, 3, 8, 9, 10, 11]
    assert found.row.tolist() == rows
    assert found.missing == (1, 3, 4)
    assert found.summary is None
    np.testing.assert_array_equal(found["x"][:], FOUND["x"][rows])
    assert repr(found).startswith(f"Results of {place}: 8 of 18 rows, 3 shards missing\n")


def test_lost_shards_are_named(copy):
    for number in (1, 3):
        (copy / "shards" / f"00000{number}.npz").unlink()
    with pytest.raises(ValueError, match=r"lost 2 of 5 shards \(000001\.npz, 000003\.npz\): give"):
        jobs.open(copy)
    assert jobs.open(copy, partial=True).missing == (1, 3)


def test_a_lost_summary_is_an_unfinished_job(copy):
    (copy / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"unfinished \(5 of 5 shards\)"):
        jobs.open(copy)
    assert jobs.open(copy, partial=True).missing == ()


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"x.npy") + 200] ^= 255
    path.write_bytes(content)


def replace(path):
    np.savez(path, **{name: array[:2] for name, array in FOUND.items()})


def shorten(path):
    np.savez(path, status=FOUND["status"][:4])


@pytest.mark.parametrize("damage", [cut, flip, replace, shorten])
def test_a_damaged_shard_is_named_once_it_is_read(copy, damage):
    damage(copy / "shards" / "000003.npz")
    found = jobs.open(copy)
    np.testing.assert_array_equal(found["x"][:12], FOUND["x"][:12])
    with pytest.raises(ValueError, match=r"000003\.npz is missing or damaged \(.*again") as told:
        found["x"][:]
    assert "\n" not in str(told.value)


def test_a_damaged_first_shard_is_named(copy):
    (copy / "shards" / "000000.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"000000\.npz is missing or damaged"):
        jobs.open(copy)
    shutil.rmtree(copy)
    place = finished.write(copy, ZARR, FEW)
    shutil.rmtree(copy / "shards" / "000000.zarr")
    (copy / "shards" / "000000.zarr").mkdir()
    with pytest.raises(ValueError, match=r"000000\.zarr is missing or damaged \(no array"):
        jobs.open(place)


def test_other_bytes_are_found_by_their_digest(copy):
    other = {name: array[4:8] for name, array in FOUND.items()} | {"x": FOUND["x"][:4]}
    np.savez(copy / "shards" / "000001.npz", **other)
    with pytest.raises(ValueError, match=r"000001\.npz is missing or damaged \(not the bytes"):
        jobs.open(copy).check()


@pytest.mark.parametrize(
    "content", [None, "{", '{"program": "other"}', '{"job": {}, "facts": {}, "environments": []}']
)
def test_what_is_no_job_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"holds no results: expected the folder of a densityguid"):
        jobs.open(tmp_path)


def test_a_job_without_any_shard_has_nothing_to_show(tmp_path):
    place = finished.write(tmp_path / "out", JOB, FOUND, until=0)
    with pytest.raises(ValueError, match="no finished shard yet: wait for one"):
        jobs.open(place, partial=True)


def test_a_view_is_not_made_without_a_copy(done):
    with pytest.raises(ValueError, match="x lies in files: reading it makes a copy"):
        np.asarray(jobs.open(done)["x"], copy=False)


@pytest.mark.parametrize(
    "job",
    [
        Alignment("world:gaussian", 18, output=Output(4, 2)),
        Density("world:gaussian", "points.npz", part="train", output=Output(4, 2)),
        finished.sampling(count=18, values=()),
    ],
    ids=["alignment", "density", "plain"],
)
def test_jobs_of_one_value(tmp_path, job):
    facts = {"model": "0", "split of the data": [18, 3]}
    found = jobs.open(finished.write(tmp_path / "out", job, FOUND, facts=facts))
    assert config.record(found.job) == config.record(job)
    assert found.samples == 18
    assert np.isnan(found.guidance).all()
    np.testing.assert_array_equal(found.sample, found.row)
