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


def test_a_full_disk_is_one_line(tmp_path):
    """Also where the system says so only when the file is closed."""
    path = tmp_path / "log.jsonl"
    with logged(path)(4, 0) as tick:
        path.symlink_to("/dev/full")
        with pytest.raises(StorageError, match=r"cannot write .*log\.jsonl \(No space left"):
            tick(RECORD)


def test_a_log_may_lie_in_a_folder_to_come(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    with logged(path)(4, 0) as tick:
        assert not path.parent.exists()
        tick(RECORD)
    assert json.loads(path.read_text())["shard"] == 3


@pytest.mark.parametrize("content", ["notes", "3", '{"lr": 0.1}', "\0"])
def test_files_of_others_are_no_log(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match="densityguide did not write it: choose another --log"):
        logged(path)
    assert path.read_text() == content
