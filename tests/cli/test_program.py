"""The program itself: help, version, pipes, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import densityguide
from densityguide import models
from densityguide.app.cli import app
from densityguide.app.cli.options import SHIPPED
from densityguide.app.commands.progress import bar

COMMANDS = (
    "models",
    "sample",
    "density",
    "play",
    "show",
    "align",
    "verify",
    "cost",
    "run",
    "train",
    "export",
    "calibrate",
    "data",
)
MODULE = (sys.executable, "-m", "densityguide")


def test_version(run):
    outcome = run("--version")
    assert outcome.status == 0
    assert outcome.out.strip() == f"densityguide {densityguide.__version__}"


def test_every_command_is_listed_in_full(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = run("--help").out
    listed = [line.split()[0] for line in text.partition("Commands:")[2].splitlines() if line]
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert set(COMMANDS) <= {*names, "data"}
    for name in (*names, "data"):
        assert name in listed
    assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("command", [*COMMANDS, "data emoji", "data digits", ""])
def test_help_has_examples_and_fits_a_terminal(run, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = run(*command.split(), "--help")
    assert outcome.status == 0
    assert "Examples:" in outcome.out
    assert f"densityguide {command}" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_shared_options_have_one_text(run, monkeypatch):
    """The same name says the same in every command that has it."""
    monkeypatch.setenv("COLUMNS", "80")
    for option in ("--model", "--seed", "--solver", "--condition", "--json"):
        texts = set()
        for command in ("sample", "density", "align", "verify", "cost"):
            lines = run(command, "--help").out.partition(f"  {option} ")[2].splitlines()
            if lines:
                texts.add(lines[0].split(maxsplit=1)[-1].strip())
        assert len(texts) == 1, texts


def test_bar_is_silent_in_a_pipe(capfd):
    with bar("sampling") as begin:
        tick = begin(2)
        tick()
        tick()
    assert capfd.readouterr() == ("", "")


def test_bar_on_a_terminal(capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # and rich sees a terminal too
    monkeypatch.setenv("TERM", "xterm")
    with bar("sampling") as begin:
        begin(2)()
    out, err = capfd.readouterr()
    assert out == ""
    assert "compiling" in err
    assert "1/2" in err


def test_module_and_a_reader_that_leaves():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*MODULE, "sample", "--help"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.fixture(scope="module")
def past_imports():
    """Seconds after which a command on this machine, as busy as it is, is past its imports."""
    started = time.monotonic()
    names = "import jax, densityguide.app.commands.sample, densityguide.app.commands.density"
    subprocess.run([sys.executable, "-c", names], check=True)
    return 6.0 + 2.5 * (time.monotonic() - started)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sample", "density"])
def test_interrupt_writes_nothing(tmp_path, cache_folder, past_imports, command):
    """SIGINT in the middle of a run: status 130, one word, no file."""
    import numpy as np

    np.save(tmp_path / "points.npy", np.zeros((500_000, 12), np.float32))
    more = {
        "sample": ("--count", "500000", "--out", "new/samples"),
        "density": ("points.npy", "--out", "new/density.npz"),
    }[command]
    # A shell's background job ignores SIGINT, and its children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*MODULE, command, "--model", "world:mixture", *more],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    # Past the imports, which no program can catch, and in the compiler or the loop.
    time.sleep(past_imports)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == ("", "interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["points.npy"]


def test_models_are_listed(run):
    report = json.loads(run("models", "--json").out)
    names = [row["name"] for row in report["models"]]
    assert names == models.names()
    assert set(names) == set(SHIPPED)
    assert report["worlds"] == ["world:gaussian", "world:mixture"]
    text = run("models").out
    for row in report["models"]:
        assert row["name"] in text
        assert f"{row['parameters']:,}" in text
    help_text = " ".join(run("sample", "--help").out.split())
    for name in names:
        assert name in help_text


@pytest.mark.parametrize("command", ["train", "run"])
def test_examples_can_be_run(run, tmp_path, command):
    from densityguide import training
    from densityguide.app.jobs import config

    text = run(command, "--example").out
    (tmp_path / "my.toml").write_text(text)
    assert text.startswith("# ")
    if command == "train":
        assert training.read(tmp_path / "my.toml").name == "my-pictures"
    else:
        assert config.read(tmp_path / "my.toml").model == "digits8"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("density",), "Missing argument 'FILES': densityguide density --help says what there is"),
        (("export", "a"), "Missing argument 'FOLDER': densityguide export --help"),
        (("train",), "--config FILE: densityguide train --example > my.toml"),
        (("run",), "JOB.toml: densityguide run --example > job.toml"),
        (("sample", "--polish", "3"), "no such option --polish: densityguide sample --help says"),
        (("sample", "--list"), "no such option --list: densityguide sample --help says"),
        (("sample", "--width", "3"), "no such option --width: densityguide sample --help says"),
        (("sample", "--output", "x"), "no such option --output: did you mean --out?"),
        (("sample", "--cuont", "3"), "no such option --cuont: did you mean --count?"),
        (("sample", "--pinned", "0.3"), "job's; densityguide run --example"),
    ],
)
def test_misuse_says_where_to_look(run, arguments, words):
    assert words in run(*arguments).line


def test_fonts_are_no_general_option(run):
    assert "--font" not in run("train", "--help").out
    assert "--font" not in run("export", "--help").out
    assert "--font" in run("data", "emoji", "--help").out


@pytest.mark.slow
def test_a_job_says_where_its_results_are(run, tmp_path):
    (tmp_path / "my.toml").write_text(
        'kind = "sample"\nmodel = "world:gaussian"\ncount = 8\n[solve]\nsteps = 4\n'
    )
    outcome = run("run", "my.toml")
    assert outcome.status == 0
    assert "Results are in jobs/my" in outcome.out
    assert (tmp_path / "jobs" / "my" / "summary.json").is_file()


@pytest.mark.slow
def test_cost_counts_what_was_asked_for(run):
    text = run(
        "cost", "--model", "world:gaussian", "--count", "10", "--q", "0.5", "--steps", "4"
    ).out
    assert "10 samples for each of 1 q, computed in blocks as 16" in text
