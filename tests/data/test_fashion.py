"""Idx files, as Fashion-MNIST comes in them; the set itself where it is installed."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from densityguide import data
from densityguide.data import fashion

CHECKSUM = "82566a354e1b538bd4f29ea894a872814f22102987e9d23a9d3f509f37b84adb"


def idx(array, axes=None):
    head = struct.pack(f">{1 + array.ndim}I", 0x0800 + (axes or array.ndim), *array.shape)
    return head + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("t10k", 2)):
        images = rng.integers(0, 256, (count, 4, 3)).astype(np.uint8)
        labels = np.arange(count).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_a_folder_of_idx_files_is_a_data_set(folder):
    found = data.load(str(folder))
    assert found.shape == (4, 3, 1)
    assert (len(found.train), len(found.heldout), found.levels) == (5, 2, 256)
    np.testing.assert_array_equal(found.labels, range(5))
    np.testing.assert_array_equal(found.heldout_labels, range(2))
    first = np.random.default_rng(0).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    np.testing.assert_array_equal(found.train[..., 0], first)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("train-images-idx3-ubyte", b"\0\0\x08", "train-images-idx3-ubyte is damaged"),
        (
            "t10k-images-idx3-ubyte",
            idx(np.zeros((2, 4), np.uint8)),
            "damaged .it begins with 0x802",
        ),
        ("t10k-images-idx3-ubyte", idx(np.zeros((2, 4, 4), np.uint8)), "of one shape in both"),
        ("t10k-images-idx3-ubyte", idx(np.zeros((3, 4, 3), np.uint8)), "its t10k part has 2 and 3"),
        ("train-labels-idx1-ubyte.gz", b"no", "ubyte.gz is damaged"),
        ("train-images-idx3-ubyte", idx(np.zeros((9, 9, 9), np.uint8))[:99], "is damaged"),
    ],
)
def test_damaged_idx_files_are_named_in_one_line(folder, file, content, words):
    (folder / file).write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        data.load(str(folder))
    assert "\n" not in str(caught.value)


def test_a_missing_set_says_what_to_install(tmp_path):
    with pytest.raises(FileNotFoundError, match="install Debian's dataset-fashion-mnist, or give"):
        fashion.read(tmp_path)


@pytest.mark.skipif(not Path(fashion.FOLDER).is_dir(), reason="dataset-fashion-mnist not installed")
def test_fashion_is_the_published_one():
    found = data.load("fashion28")
    assert found.checksum == CHECKSUM
    assert (len(found.train), len(found.heldout), found.shape) == (60000, 10000, (28, 28, 1))
    assert found.classes[9] == "ankle boot"
    np.testing.assert_array_equal(np.bincount(found.labels), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(found.heldout_labels), [1000] * 10)
