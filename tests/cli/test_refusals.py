"""Bad input: one line naming the problem and the fix, status 2, nothing written."""

import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from densityguide.models import pretrained

WORLD = ("sample", "--model", "world:mixture")
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sample", "--model", "digit8"), ("unknown model", "digits8")),
        (("sample", "--model", "world:mixtur"), ("unknown world", "world:mixture")),
        ((*WORLD, "--q", "1.2"), ("--q", "between 0 and 1", "1.2")),
        ((*WORLD, "--q", "0"), ("--q", "between 0 and 1")),
        ((*WORLD, "--q", "-0.5"), ("--q", "between 0 and 1")),
        ((*WORLD, "--q", "nan"), ("--q", "between 0 and 1")),
        ((*WORLD, "--q", "0.3,high"), ("--q", "numbers", "high")),
        ((*WORLD, "--q", "0.3,,0.5"), ("--q", "numbers")),
        ((*WORLD, "--count", "0"), ("--count", "got 0")),
        ((*WORLD, "--count", "many"), ("--count", "integer")),
        ((*WORLD, "--steps", "0"), ("--steps", "got 0")),
        ((*WORLD, "--seed", "-1"), ("--seed", "got -1")),
        ((*WORLD, "--solver", "rk4"), ("unknown solver", "dopri5")),
        ((*WORLD, "--cuont", "3"), ("--cuont", "--count")),
        (("smaple",), ("smaple",)),
        (("sample", "--model", ""), ("name", "folder", "digits8")),
        (("cost", "--model", " "), ("name", "folder", "digits8")),
        (("sample", "--model", "world:"), ("unknown world", "world:gaussian")),
        ((*WORLD, "--probes", "1"), ("--probes", "error bar")),
        ((*WORLD, "--probes", "-2"), ("--probes", "got -2")),
        ((*WORLD, "--condition", "3"), ("--condition", "takes none")),
        (
            ("sample", "--model", "digits8-class", "--condition", "10"),
            ("--condition", "0 to 9", "-1 for none", "got 10"),
        ),
        (("sample", "--model", "digits8-class", "--condition", "-2"), ("--condition", "got -2")),
        (("train", "--config", "absent.toml"), ("absent.toml", "does not exist")),
        (("train",), ("--config",)),
        (("run", "absent.toml", "--out", ""), ("--out", "got none")),
        (("run", f"{CONFIGS}/digits8.toml", "--out", "memory://x"), ("this machine", "memory://x")),
        (("run", f"{CONFIGS}/digits8.toml", "--process", "0"), ("training on one host",)),
        (("run", "a/j.toml", "b/j.toml"), ("different names", "a/j.toml", "b/j.toml", "rename")),
        (("run", "a/j.toml", "b/j.toml", "--out", "X"), ("different names", "folder j")),
        (("export", "absent", "model"), ("absent", "run folder")),
        (("export", "absent", "model", "--storage", "int8"), ("--storage", "float16")),
        (("data", "emoji", "--font", "absent.ttf"), ("absent.ttf", "fonts-noto-color-emoji")),
    ],
)
def test_one_line(run, tmp_path, arguments, words):
    line = run(*arguments).line
    for word in words:
        assert word in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("data",)])
def test_no_command_shows_what_there_is(run, arguments):
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.err.startswith("Usage: densityguide")
    assert "\n" in outcome.err.strip()


def test_typo_in_configuration(run, tmp_path):
    config = tmp_path / "typo.toml"
    config.write_text('name = "x"\ndata = "digits8"\n[optimiser]\nlearning_rte = 1e-3\n')
    line = run("train", "--config", config).line
    assert "learning_rte" in line
    assert "learning_rate" in line
    assert list(tmp_path.iterdir()) == [config]


def test_foreign_folder(run, tmp_path):
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "holiday.jpg").write_text("mine")
    for words in [(*WORLD, "--out", foreign), ("export", "absent", foreign)]:
        assert "did not write" in run(*words).line
    assert [path.name for path in foreign.iterdir()] == ["holiday.jpg"]


def test_a_configuration_of_others_is_foreign(run, tmp_path):
    foreign = tmp_path / "unet"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    config = tmp_path / "run.toml"
    config.write_text('name = "x"\ndata = "digits8"\n')
    assert "did not write" in run("train", "--config", config, "--out", foreign).line
    assert [path.name for path in foreign.iterdir()] == ["config.json"]


def test_report_of_another_program_is_foreign(run, tmp_path):
    foreign = tmp_path / "other"
    foreign.mkdir()
    (foreign / "report.json").write_text(json.dumps({"program": "other"}))
    assert "did not write" in run(*WORLD, "--out", foreign).line


def test_out_is_a_file_or_below_one(run, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file" in run(*WORLD, "--out", file).line
    assert "cannot write" in run(*WORLD, "--out", file / "deep" / "samples").line
    assert file.read_text() == "mine"


def test_unwritable(run, tmp_path):
    # The kernel refuses this one to root as well.
    assert "cannot write" in run(*WORLD, "--out", "/proc/densityguide/samples").line


def test_refusal_leaves_no_new_folders(run, tmp_path):
    run("sample", "--model", "nothing", "--out", tmp_path / "a" / "b").line  # noqa: B018
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(pretrained.FOLDER / "digits8", folder)
    return folder


def test_damaged_weights(run, model):
    weights = model / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    line = run("sample", "--model", model).line
    assert "weights.safetensors" in line
    assert "damaged" in line


def test_damaged_card(run, model):
    (model / "card.json").write_text("{")
    assert "damaged" in run("sample", "--model", model).line


def test_missing_weights(run, model):
    (model / "weights.safetensors").unlink()
    assert "does not exist" in run("sample", "--model", model).line


@pytest.mark.slow
def test_damaged_run(run, tmp_path):
    """A checkpoint that lost its arrays, then a run whose record is broken."""
    from densityguide import training

    tiny = {"widths": [8], "blocks": [1], "attention": [False], "embedding": 16}
    config = training.from_dict(
        {
            "name": "tiny",
            "data": "digits8",
            "model": {"fields": tiny},
            "optimiser": {"steps": 1, "batch": 2, "warmup": 1, "decay": 1},
        }
    )
    folder = tmp_path / "run"
    training.train(config, folder, progress=False)
    arrays = folder / "checkpoints" / "1" / "default"
    shutil.rmtree(arrays / "d")
    for part in arrays.glob("ocdbt*"):
        shutil.rmtree(part)
    assert "cannot be read" in run("export", folder, "model").line
    (folder / "config.json").write_text("{")
    assert "damaged" in run("export", folder, "model").line
    assert not (tmp_path / "model").exists()


def test_missing_extra(run, hide):
    hide("fontTools")
    line = run("data", "emoji", "--font", __file__).line
    assert ".[train]" in line


def test_foreign_data_file(run, tmp_path):
    file = tmp_path / "mine.npz"
    for content in ("mine", ""):
        file.write_text(content)
        assert "did not write" in run("data", "digits", "--out", file).line
        assert file.read_text() == content


def test_arrays_under_a_wrong_name(run, tmp_path):
    points = np.zeros((2, 2), np.float32)
    np.save(tmp_path / "a.npy", points)
    np.savez(tmp_path / "b.npz", points)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    for name, kind in (("a.npz", ".npy"), ("b.npy", ".npz")):
        line = run("density", name, "--model", "world:mixture").line
        assert f"expected what its name says in {name}, it is {kind}: rename it" in line
    line = run("data", "images", "a.npz").line
    assert "a.npz is none (it is one array without a name, .npy)" in line


def test_interrupt(run, monkeypatch):
    from densityguide.app import source

    def interrupt(*_, **given):
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "load", interrupt)
    outcome = run(*WORLD)
    assert outcome.status == 130
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("status", [75, 130])
def test_an_interrupted_process_ends_at_once(monkeypatch, status):
    from densityguide.app import cli

    def leave(status):
        raise SystemExit(f"at once with {status}")

    monkeypatch.setattr(cli, "main", lambda: status)
    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(SystemExit, match=f"at once with {status}"):
        cli.program()


def test_defects_keep_their_traceback(run, monkeypatch):
    from densityguide.app import source

    monkeypatch.setattr(source, "load", lambda *_, **given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(*WORLD)


@pytest.mark.parametrize("how", [("train", "--config"), ("run",)])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_training_tells_ctrl_c_from_sigterm(run, tmp_path, monkeypatch, how, number, status):
    from densityguide import training

    def stopped(config, out, *, stop, **_):
        with stop:
            signal.raise_signal(number)
        return SimpleNamespace(step=1)

    monkeypatch.setattr(training, "train", stopped)
    (tmp_path / "a.toml").write_text('kind = "train"\nname = "a"\ndata = "digits8"\n')
    outcome = run(*how, "a.toml", "--out", "X")
    assert outcome.status == status
    said = {130: "interrupted", 75: "stopped by SIGTERM: the same command goes on from here"}
    assert outcome.err == f"{said[status]}\n"
