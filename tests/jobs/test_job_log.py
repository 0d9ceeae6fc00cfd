"""The log of a job has a line for every shard, with the names that lines on a pipe have."""

import json

import pytest

from densityguide.app.jobs.progress import logged, shown
from densityguide.disk.storage import StorageError

RECORD = {"shard": 3, "start": 8, "stop": 12, "failed": 1}


def test_the_log_has_the_lines_of_a_pipe(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    for done in (4, 8):  # a second run appends
        with logged(path, shown("job", 2), 2)(40, done) as tick:
            tick(RECORD)
    written = [json.loads(line) for line in path.read_text().splitlines()]
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["done"] for line in written] == [8, 12]
    exact = ("process", "shard", "done", "of", "failed")
    for a, b in zip(written, printed, strict=True):
        assert a.keys() == b.keys()
        assert [a[name] for name in exact] == [b[name] for name in exact]


def test_a_log_that_cannot_be_written_is_one_line(tmp_path):
    with (
        pytest.raises(StorageError, match=r"cannot write .*nowhere/log\.jsonl \(No such file"),
        logged(tmp_path / "nowhere" / "log.jsonl")(4, 0),
    ):
        pass
