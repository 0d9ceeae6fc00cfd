"""Jobs and places that cannot be: one line, exit status 2, and nothing is left behind."""

import pytest

from densityguide.app.cli import main

JOB = 'kind = "sample"\nmodel = "world:gaussian"\ncount = 4\n[solve]\nsteps = 4\n'
ROWS = {
    "absent": (["none.toml"], "none.toml does not exist"),
    "ftp": (["j.toml", "--out", "ftp://127.0.0.1:1/x"], "that can be reached, got ftp://"),
    "zip": (["j.toml", "--out", "zip://x"], "that can be reached, got zip://x"),
    "long": (["j.toml", "--out", "a" * 300], "that can be reached, got aaa"),
    "level": (["j.toml", "--set", "noise.level=inf"], "expected noise.level in 0 .. 100, got inf"),
    "band": (["j.toml", "--set", "noise.band=[3,-3]"], "low < high, got [3.0, -3.0]"),
    "nan": (["j.toml", "--set", "noise.band=[nan,1]"], "low < high, got [nan, 1.0]"),
    "model": (["j.toml", "--set", "model=none"], "unknown model 'none'"),
    "both": (["j.toml", "--set", "solve.rtol=1e-3"], "leave one out"),
    "alone": (["j.toml", "--processes", "2"], "expected --processes with --process"),
    "patience": (["j.toml", "--patience", "0"], "expected --patience above 0 seconds, got 0.0"),
    "port": (
        ["j.toml", "--coordinator", "host", "--processes", "2", "--process", "0"],
        "expected --coordinator HOST:PORT, got 'host'",
    ),
    "under a file": (["j.toml", "--out", "j.toml/x"], "a file lies where a folder must be"),
    "log of others": (["j.toml", "--log", "k.toml"], "k.toml exists and densityguide did not"),
    "log folder": (["j.toml", "--log", "F"], "--log must be a file, F is a folder"),
    "log device": (["j.toml", "--log", "/dev/full"], "is a device or a pipe: choose another"),
    "log nowhere": (["j.toml", "--log", "j.toml/x"], "choose another --log"),
    "several": (
        ["j.toml", "k.toml", "--processes", "2", "--process", "0"],
        "expected one job with",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_refused_in_one_line(name, tmp_path, monkeypatch, capfd):
    arguments, words = ROWS[name]
    monkeypatch.chdir(tmp_path)
    for file in ("j.toml", "k.toml"):
        (tmp_path / file).write_text(JOB)
    (tmp_path / "F").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "F"))
    status = main(["run", *arguments])
    out, errors = capfd.readouterr()
    assert (status, out, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith("error: ")
    assert words in errors
    assert {path.name for path in tmp_path.iterdir()} == {"F", "j.toml", "k.toml"}
