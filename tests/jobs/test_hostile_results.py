"""Results whose files were damaged, or replaced by things that are no files: one line, or what is
there; never a traceback, and nothing waits."""

import copy
import json
import os

import numpy as np
import pytest
from test_peers import cheap  # noqa: F401  (a fixture)
from upath import UPath

from densityguide.app import jobs
from densityguide.app.jobs import Output, Sampling, arrays
from densityguide.disk import storage

JOB = Sampling("world:gaussian", count=4, output=Output(shard=2, block=2))
VALUES = (None, 0, -1, "x", [], [1], {"a": 1})


@pytest.fixture
def out(cheap, tmp_path):  # noqa: F811
    jobs.run(JOB, tmp_path / "out")
    return tmp_path / "out"


def places(value, at=()):
    """Every place in a JSON value, as keys from the top; of lists the first entry."""
    if at:
        yield at
    if isinstance(value, list):
        value = dict(enumerate(value[:1]))
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*at, key))


def altered(value, at, how):
    """The same with that place removed, or with another value there."""
    value = inner = copy.deepcopy(value)
    for key in at[:-1]:
        inner = inner[key]
    if how is ...:
        del inner[at[-1]]
    else:
        inner[at[-1]] = how
    return value


def test_no_manifest_is_a_traceback(out):
    """Every entry removed, or replaced by values of other kinds."""
    manifest, x = json.loads((out / "manifest.json").read_text()), np.asarray(jobs.open(out)["x"])
    opened = refused = lines = 0
    for at in places(manifest):
        if at[0] == "environments" and len(at) > 1:
            continue  # they are shown as they are
        for how in (..., *VALUES):
            (out / "manifest.json").write_text(json.dumps(altered(manifest, at, how)))
            for partial in (False, True):
                try:
                    found = jobs.open(out, partial=partial)
                    repr(found)
                    found.check()
                except ValueError as error:
                    lines += str(error).count("\n")
                    refused += 1
                else:
                    np.testing.assert_array_equal(found["x"], x[found.row])
                    opened += 1
    assert opened > 100 < refused
    assert lines == 0


@pytest.mark.parametrize("split", [None, 3, [], "x", ["a", "b"]])
def test_facts_of_another_kind_are_said_to_be(tmp_path, split):
    job = {"kind": "density", "model": "digits8", "data": "digits8"}
    facts = {} if split is None else {"split of the data": split}
    known = {"program": "densityguide run", "job": job, "facts": facts, "environments": []}
    (tmp_path / "manifest.json").write_text(json.dumps(known))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged, or of another version"):
        jobs.open(tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "summary.json", "shards/000001.npz"])
def test_a_pipe_is_not_waited_for(out, name):
    (out / name).unlink()
    os.mkfifo(out / name)
    path = UPath(out / name)
    assert storage.read_json(path) is None
    assert arrays.digest(path) is None
    with pytest.raises(ValueError, match=r"no results|unfinished|is missing or damaged \(.*a pipe"):
        jobs.open(out)["x"][:]


def test_json_without_an_end_is_none(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert storage.read_json(UPath(tmp_path / "a.json")) is None


def test_results_stay_where_they_lay(out, monkeypatch):
    """Whoever opened a relative name may go elsewhere before anything is read."""
    monkeypatch.chdir(out.parent)
    found = jobs.open("out")
    monkeypatch.chdir("/")
    assert found["x"][:].tolist() == [0, 1, 2, 3]
    found.check()
