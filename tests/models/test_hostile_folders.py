"""Model folders that are damaged or meant to harm: one line that names the file, before any of it
is used, without more memory than a model of that size takes."""

import json
import os
import shutil
import struct

import ml_dtypes  # noqa: F401  (gives NumPy its bfloat16)
import numpy as np
import pytest
from safetensors.numpy import load_file, save, save_file

import densityguide as dg
from densityguide.models import pretrained, weights

DEEP = "/".join(["a"] * 5000)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(pretrained.FOLDER / "spiral2d", tmp_path / "model")


def refused(folder, *words):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        dg.models.load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 700
    for word in words:
        assert word in text, text
    return text


def change_card(folder, **changes):
    """``network__fields__depth=3`` sets what is within."""
    path = folder / "card.json"
    card = json.loads(path.read_text())
    for name, value in changes.items():
        *tables, key = name.split("__")
        inner = card
        for table in tables:
            inner = inner[table]
        inner[key] = value
    path.write_text(json.dumps(card))


def change_weights(folder, change):
    """Stores other arrays, with the right checksum."""
    path = folder / "weights.safetensors"
    path.write_bytes(save(change(load_file(path))))
    change_card(folder, sha256=weights.files.sha256(path))


CARDS = {
    "levels -1": ({"transform__levels": -1}, "levels must be 0 or 2 to 256, got -1"),
    "levels 1": ({"transform__levels": 1}, "got 1"),
    "levels 257": ({"transform__levels": 257}, "got 257"),
    "levels true": ({"transform__levels": True}, "got True"),
    "levels 10^30": ({"transform__levels": 10**30}, "levels must be"),
    "log-SNR inf": ({"log_snr": [-np.inf, np.inf]}, "log_snr must rise"),
    "log-SNR huge": ({"log_snr": [-1e30, 1e30]}, "log_snr must rise"),
    "log-SNR swapped": ({"log_snr": [8, -9]}, "from noise to data, got [8.0, -9.0]"),
    "log-SNR text": ({"log_snr": "12"}, "expected a list for log_snr, got '12'"),
    "log-SNR true": ({"log_snr": [True, 2]}, "expected a number for log_snr[0], got true"),
    "log-SNR three": ({"log_snr": [1, 2, 3]}, "expected a list of 2 for log_snr"),
    "shape huge": ({"shape": [10**6, 10**6, 1]}, "shape must hold 1 to 16,777,216 numbers"),
    "shape none": ({"shape": []}, "shape must hold"),
    "shape 0": ({"shape": [0]}, "shape must hold"),
    "shape text": ({"shape": "abc"}, "expected a list for shape"),
    "checksum null": ({"sha256": None}, "expected a text for sha256, got none"),
    "checksum short": ({"sha256": "ab"}, "sha256 must be 64 hexadecimal digits"),
    "storage": ({"storage": "int8"}, "storage must be one of float16, float32, got 'int8'"),
    "storage of the other": ({"storage": "float32"}, "expected float32 as the card says"),
    "prediction": ({"prediction": "magic"}, "prediction must be one of"),
    "prediction and path": ({"prediction": "v"}, "is damaged"),
    "path": ({"path": "winding"}, "path must be one of"),
    "kind": ({"network__kind": "magic"}, "unknown network kind"),
    "kind list": ({"network__kind": [1]}, "network needs a kind and fields"),
    "fields": ({"network__fields": 3}, "network needs a kind and fields"),
    "unknown field": ({"network__fields__wdith": 3}, "did you mean 'width'"),
    "depth": ({"network__fields__depth": 10**9}, "more layers than there are weights"),
    "blocks": (
        {"network__kind": "unet", "network__fields": {"blocks": [10**6, 1]}},
        "blocks asks for more layers than there are weights",
    ),
    "many widths": (
        {"network__kind": "unet", "network__fields": {"widths": [8] * 10**4}},
        "widths asks for more layers",
    ),
    "depth text": ({"network__fields__depth": "x"}, "fields are damaged"),
    "dtype evil": ({"network__fields__dtype": "evil"}, "dtype must be one of float16"),
    "dtype 5": ({"network__fields__dtype": 5}, "dtype must be one of"),
    "dtype list": ({"network__fields__dtype": ["f4"]}, "dtype must be one of"),
    "dtype complex": ({"network__fields__dtype": "complex64"}, "dtype must be one of"),
    "sigma_data list": ({"network__fields__sigma_data": [1]}, "sigma_data must be a finite number"),
    "sigma_data text": ({"network__fields__sigma_data": "x"}, "sigma_data must be a finite number"),
    "sigma_data 0": ({"network__fields__sigma_data": 0}, "sigma_data must be a finite number"),
    "colour": ({"colour": 1}, "unknown configuration key colour"),
}


@pytest.mark.parametrize("name", CARDS)
def test_card(folder, name):
    changes, words = CARDS[name]
    change_card(folder, **changes)
    refused(folder, "model", words)
    # The message names the file to look into.
    assert ("card.json" in refused(folder)) or ("weights.safetensors" in refused(folder))


TEXTS = {
    "deep": ("[" * 10**5, "nested too deeply"),
    "deep in a table": ('{"data": ' + "[" * 10**5, "nested too deeply"),
    "list": ("[]", "it is no table"),
    "broken": ("{", "is damaged"),
    "large": ("{" + " " * 2**20 + "}", "of at most 1,048,576 bytes"),
    "binary": ("\x00\x01", "is damaged"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_of_the_card(folder, name):
    text, words = TEXTS[name]
    (folder / "card.json").write_text(text)
    refused(folder, "card.json", words)


def cast(dtype):
    return lambda held: {name: value.astype(dtype) for name, value in held.items()}


def renamed(new):
    def change(held):
        names = sorted(held)
        return {new(held).get(name, name): held[name] for name in names}

    return change


def first_to(value):
    def change(held):
        name = sorted(held)[0]
        filled = held[name].copy()
        filled.flat[0] = value
        return held | {name: filled}

    return change


WEIGHTS = {
    "parent and child": (
        renamed(lambda held: {sorted(held)[0]: "params", sorted(held)[1]: "params/x/y"}),
        "holds others",
    ),
    "name and child": (
        lambda held: held | {f"{sorted(held)[0]}/x": np.zeros(1, np.float16)},
        "holds others",
    ),
    "absurd name": (lambda held: held | {DEEP: np.zeros(1, np.float16)}, "holds others"),
    "missing": (lambda held: dict(sorted(held.items())[1:]), "holds others"),
    "extra": (lambda held: held | {"params/more": np.zeros(1, np.float16)}, "holds others"),
    "int8": (cast(np.int8), "is int8, which is not supported"),
    "int64": (cast(np.int64), "is int64, which is not supported"),
    "bool": (cast(np.bool_), "is bool, which is not supported"),
    "float64": (cast(np.float64), "is float64, which is not supported"),
    "bfloat16": (cast("bfloat16"), "is bfloat16, which is not supported"),
    "float32": (cast(np.float32), "expected float16 as the card says"),
    "nan": (first_to(np.nan), "holds NaN or infinity"),
    "inf": (first_to(np.inf), "holds NaN or infinity"),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(folder, name):
    change, words = WEIGHTS[name]
    change_weights(folder, change)
    refused(folder, "weights.safetensors", words)


def knots(**changes):
    rises = np.linspace(-9, 9, 4, dtype=np.float32)
    return {"times": rises, "log_density": 0 * rises, "spread": 1 + 0 * rises} | changes


CALIBRATIONS = {
    "one knot": {name: value[:1] for name, value in knots().items()},
    "no knot": {name: value[:0] for name, value in knots().items()},
    "2-d": {name: value.reshape(2, 2) for name, value in knots().items()},
    "lengths": knots(spread=np.ones(3, np.float32)),
    "spread": knots(spread=np.asarray([1, 1, -1, 1], np.float32)),
    "outside": knots(times=np.asarray([-20, 0, 1, 2], np.float32)),
    "falling": knots(times=np.asarray([3, 2, 1, 0], np.float32)),
    "huge": knots(log_density=np.full(4, 1e300)),
    "nan": knots(log_density=np.full(4, np.nan, np.float32)),
    "extra": knots(more=np.ones(4, np.float32)),
    "nothing": {},
}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibration(folder, name):
    save_file(CALIBRATIONS[name], folder / "calibration.safetensors")
    refused(folder, "calibration.safetensors", "is damaged", "calibrate again")


def test_files_of_60_gigabytes_are_not_read(folder):
    for name in ("card.json", "calibration.safetensors"):
        there = (folder / name).read_bytes()
        with open(folder / name, "r+b") as file:
            file.truncate(60 * 2**30)
        refused(folder, name, "is larger")
        (folder / name).write_bytes(there)
    with open(folder / "weights.safetensors", "r+b") as file:
        file.truncate(60 * 2**30)
    refused(folder, "weights.safetensors", "is damaged")
    head = json.dumps(
        {"a": {"dtype": "F32", "shape": [2**30, 15], "data_offsets": [0, 60 * 2**30]}}
    )
    with open(folder / "weights.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head.encode())
        file.truncate(8 + len(head) + 60 * 2**30)
    refused(folder, "more layers than there are weights")


@pytest.mark.parametrize("name", ["card.json", "weights.safetensors", "calibration.safetensors"])
def test_something_else_than_a_file(folder, name):
    path = folder / name
    path.unlink()
    path.mkdir()
    refused(folder, name, "is a folder")
    path.rmdir()
    path.symlink_to(folder / "nothing")
    refused(folder, name, "is a link to nothing")
    path.unlink()
    path.symlink_to(path)
    refused(folder, name, "is a link to nothing")
    path.unlink()
    os.mkfifo(path)
    refused(folder, name, "is a device or a pipe")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "expected the name or the folder of a model, got None"),
        (5, "got 5"),
        (["digits8"], "got ['digits8']"),
        (b"digits8", "got b'digits8'"),
        ("", "got none"),
        ("a" * 5000, "File name too long"),
        ("digit8", "did you mean 'digits8'?"),
        ("cifar10", "shipped are digits8, "),
        (__file__, "is a file: give the folder"),
        ("nowhere/model", "nowhere/model does not exist"),
    ],
)
def test_what_is_no_model(given, words):
    refused(given, words)


def test_a_home_folder_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert dg.models.load("~/model").shape == (2,)
