"""Names, places and refusals of the system: one rule for all commands, one line, no traceback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from densityguide.app import source
from densityguide.app.commands import tables
from densityguide.app.names import shown
from densityguide.models import pretrained

WORLD = ("--model", "world:mixture")
QUICK = (*WORLD, "--count", "2", "--steps", "2", "--q", "0.5")
LONG = "a" * 300


@pytest.fixture
def here(tmp_path):
    (tmp_path / "file").write_text("mine")
    np.save(tmp_path / "a.npy", np.zeros((2, 12)))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "job.toml").write_text('kind = "sample"\nmodel = "nothing"\ncount = 8\n')
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # nothing
        (("sample", *WORLD, "--out", ""), "expected a path, got none"),
        (("density", "", *WORLD), "expected a path, got none"),
        (("density", "a.npy", *WORLD, "--out", ""), "expected a path, got none"),
        (("train", "--config", ""), "expected a path, got none"),
        (("export", "", "m"), "expected a path, got none"),
        (("data", "digits", "--out", ""), "expected a path, got none"),
        (("run", "job.toml", "--out", ""), "--out, got none"),
        # addresses
        (("sample", *WORLD, "--out", "gs://b/x"), "a path of this machine, got the address gs://b"),
        (("sample", *WORLD, "--out", "http://a/b"), "got the address http://a/b"),
        (("density", "s3://b/a.npy", *WORLD), "got the address s3://b/a.npy"),
        (("export", "runs/a", "gs://b/m"), "got the address gs://b/m"),
        (("run", "job.toml", "--out", "memory://x"), "gone when the command ends"),
        # files where folders belong, and the other way round
        (("sample", *WORLD, "--out", "file"), "is a file"),
        (("sample", *WORLD, "--out", "/dev/null"), "is a file"),
        (("run", "job.toml", "--out", "file"), "is a file"),
        (("run", "job.toml", "--out", "/dev/null"), "is a file"),
        (("density", "a.npy", *WORLD, "--out", "dir/"), "dir/ is a folder's name: add a file name"),
        (("data", "digits", "--out", "dir/"), "add a file name"),
        (("run", "."), ". is a folder: name the file in it"),
        (("run", "/dev/null"), "/dev/null is none"),
        (("train", "--config", "."), ". is a folder: name the file in it"),
        # devices and pipes
        (("density", "a.npy", *WORLD, "--out", "/dev/full"), "is a device or a pipe"),
        (("density", "a.npy", *WORLD, "--out", "/dev/zero"), "is a device or a pipe"),
        (("density", "a.npy", *WORLD, "--out", "pipe"), "is a device or a pipe"),
        (("data", "digits", "--out", "pipe"), "is a device or a pipe"),
        (("run", "pipe"), "pipe is none"),
        # long names
        (("sample", *WORLD, "--out", LONG), "File name too long"),
        (("sample", "--model", LONG), "File name too long"),
        (("density", LONG, *WORLD), "File name too long"),
        (("density", "a.npy", *WORLD, "--out", LONG), "File name too long"),
        (("run", "job.toml", "--out", LONG), "File name too long"),
        (("run", LONG), "File name too long"),
        (("export", LONG, "m"), "File name too long"),
        # what is not there
        (("run", "job.toml", "--out", "J"), "unknown model 'nothing'"),
        (("run", "job.toml"), "unknown model 'nothing'"),
        (("run", "job.toml", "--out", "nowhere://x/y"), "expected a folder or an address"),
        (("sample", "--model", "file"), "file is a file: give the folder"),
        (
            ("sample", "--model", "digits8-class", "--condition", "9" * 20),
            "--condition must be a class number of a few digits",
        ),
    ],
)
def test_refusals_leave_nothing(run, here, arguments, words):
    before = sorted(here.rglob("*"))
    assert words in run(*arguments).line
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("noise.level=inf", "expected noise.level in 0 .. 100, got inf"),
        ("noise.level=1e30", "expected noise.level in 0 .. 100"),
        ("noise.level=-1.0", "expected noise.level in 0 .. 100"),
        ("noise.band=[nan,1]", "expected noise.band = [low, high]"),
        ("noise.band=[3,-3]", "expected noise.band = [low, high]"),
        ("noise.band=[-inf,3]", "expected noise.band = [low, high]"),
    ],
)
def test_settings_that_are_no_numbers(run, here, setting, words):
    line = run("run", "job.toml", "--set", "model=world:gaussian", "--set", setting).line
    assert words in line


@pytest.mark.parametrize("name", ["../../x", "/absolute", "", ".", "..", "a/b", "a\\b", "\0", ".a"])
def test_names_of_runs_are_one_part_of_a_path(run, here, name):
    written = json.dumps(name)
    (here / "t.toml").write_text(f'name = {written}\ndata = "digits8"\n')
    line = run("train", "--config", "t.toml").line
    assert "expected name as one part of a path" in line
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("optimiser.warmup=99999999999999999999", "expected optimiser.warmup up to"),
        ("optimiser.batch=1000000000", "expected optimiser.batch up to 65536"),
        ("preview=1000000000", "expected preview up to 4096"),
        ("log_steps=99999999999999999999", "expected log_steps up to"),
        ("checkpoint_steps=99999999999999999999", "expected checkpoint_steps up to"),
        ("memory=inf", "expected memory up to"),
    ],
)
def test_settings_of_training_have_an_end(run, here, setting, words):
    (here / "t.toml").write_text('kind = "train"\nname = "t"\ndata = "digits8"\n')
    assert words in run("run", "t.toml", "--set", setting, "--out", "R").line
    assert not (here / "R").exists()


@pytest.mark.slow
def test_a_home_folder_is_meant_by_its_sign(run, here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "home"))
    (here / "home").mkdir()
    assert run("sample", *QUICK, "--out", "~/x").status == 0
    assert (here / "home" / "x" / "grid.png").is_file()
    assert not (here / "~").exists()


@pytest.mark.slow
def test_brackets_and_control_characters_in_names(run, here):
    outcome = run("sample", *QUICK, "--out", "a[bold]b")
    assert "Wrote a[bold]b/grid.png" in outcome.out
    assert (here / "a[bold]b" / "grid.png").is_file()
    assert run("sample", *QUICK, "--out", "a[/x]").status == 0
    images = np.random.default_rng(0).integers(0, 17, (8, 8), np.uint8)
    for name in ("[red]0.png", "esc\x1b[31mred.png", "[bold].png"):
        Image.fromarray(images).save(here / name)
        digits = ("--model", "digits8", "--steps", "2", "--draws", "2", "--probes", "2")
        assert shown(name) in run("density", name, *digits).out
    line = run("density", "nothing\x1b[31m.png", "--model", "digits8").line
    assert "nothing\\x1b[31m.png does not exist" in line
    assert "\x1b" not in line


def test_names_are_shown_as_they_are():
    assert shown("a b\u00e9\u4e2d[red]") == "a b\u00e9\u4e2d[red]"
    assert shown("a\nb\x1b\u202e\x7f") == "a\\nb\\x1b\\u202e\\x7f"
    assert isinstance(tables.console(), Console)


@pytest.mark.parametrize("spec", [".", "./", "../spiral", "../spiral/."])
def test_a_model_has_the_name_of_its_folder(tmp_path, monkeypatch, spec):
    shutil.copytree(pretrained.FOLDER / "spiral2d", tmp_path / "spiral")
    monkeypatch.chdir(tmp_path / "spiral")
    assert source.load(spec).name == "spiral"


@pytest.mark.slow
def test_nothing_sampled_is_no_success(run, here, monkeypatch):
    from densityguide.app.commands import sample

    draw = sample.draw_row

    def broken(*given):
        out = draw(*given)
        return out._replace(log_density=np.full_like(out.log_density, np.nan))

    monkeypatch.setattr(sample, "draw_row", broken)
    outcome = run("sample", *QUICK)
    assert outcome.status == 1
    assert "2 samples ended without a finite log p" in outcome.out
    assert "Traceback" not in outcome.err
    assert "Warning" not in outcome.err


CLOSED = """
import sys
from densityguide.app.cli import main
closed, world = "closed/", ("--model", "world:mixture")
for words in (
    ("sample", "--model", closed + "model"),
    ("sample", *world, "--out", closed + "x"),
    ("density", closed + "a.png", "--model", "digits8"),
    ("density", "closed", "--model", "digits8"),
    ("density", "closed.npy", *world),
    ("density", "closed.png", "--model", "digits8"),
    ("density", "a.npy", *world, "--out", closed + "a.npz"),
    ("train", "--config", closed + "a.toml"),
    ("train", "--config", "closed.toml"),
    ("run", closed + "a.toml"),
    ("run", "job.toml", "--out", closed + "x"),
    ("export", closed + "run", "m"),
    ("data", "digits", "--out", closed + "d.npz"),
    ("data", "images", "closed", "--shape", "8x8x1"),
    ("data", "images", "closed.npz"),
    ("sample", "--model", "model-card"),
    ("sample", "--model", "model-weights"),
    ("sample", "--model", "model-calibration"),
):
    print(main(words), *words, file=sys.stderr)
"""
CLOSED_FILES = {"card": "card.json", "weights": "weights.safetensors"}
CLOSED_FILES["calibration"] = "calibration.safetensors"


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may read everything"
)
def test_what_may_not_be_read_is_one_line(here):
    (here / "job.toml").write_text('kind = "sample"\nmodel = "world:gaussian"\ncount = 8\n')
    for name in ("npy", "png", "toml", "npz"):
        (here / f"closed.{name}").write_text("")
        (here / f"closed.{name}").chmod(0)
    for name, file in CLOSED_FILES.items():
        shutil.copytree(pretrained.FOLDER / "spiral2d", here / f"model-{name}")
        (here / f"model-{name}" / file).chmod(0)
    (here / "closed").mkdir(mode=0)
    command = [sys.executable, "-c", CLOSED]
    if os.geteuid() == 0:
        drop = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", *command]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command,
        cwd=here,
        env=os.environ | {"PYTHONPATH": root, "XDG_CACHE_HOME": str(here / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 36, done.stderr
    for message, status in zip(lines[::2], lines[1::2], strict=True):
        assert status.startswith("2 "), (message, status)
        assert message.startswith("error: "), (message, status)
        assert "Permission denied" in message, (message, status)
