"""Arrays and pictures that are damaged or meant to harm: one line, little memory, no waiting."""

import io
import os
import resource
import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from densityguide import data
from densityguide.app import source
from densityguide.app.commands import inputs

WORLD, DIGITS = ("--model", "world:mixture"), ("--model", "digits8")
GREY = Image.new("L", (8, 8), 3)


def member(claimed, values=b"\0" * 64):
    """A npy file whose head claims an array of some shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": claimed}
    )
    return file.getvalue() + values


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stored:
        for name, content in members.items():
            stored.writestr(name, content)


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width, height, *chunks):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(b"\0" * 72)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + end


TEXT = b"Comment\0\0" + zlib.compress(b"a" * 3 * 10**7)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(50000, 50000))
    (tmp_path / "large.png").write_bytes(png(10000, 9500))
    (tmp_path / "text.png").write_bytes(png(8, 8, chunk(b"zTXt", TEXT)))
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    archive(tmp_path / "plain.npz", x=b"no array")
    archive(tmp_path / "claims.npz", **{"x.npy": member((10**9, 12))})
    archive(tmp_path / "pickle.npz", **{"x.npy": b"cos\nsystem\n(S'true'\ntR."})
    np.save(tmp_path / "long.npy", np.zeros((1, 12), np.longdouble))
    for name, value in {"nan": np.nan, "inf": np.inf, "huge": 1e300}.items():
        array = np.zeros((3, 12))
        array[2, 5] = value
        np.save(tmp_path / f"{name}.npy", array)
    np.save(tmp_path / "three.npy", np.zeros((3, 12)))
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "gone.png").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bomb.png", *DIGITS), "bomb.png cannot be decoded (it would fill the memory)"),
        (("large.png", *DIGITS), "large.png is 10000 x 9500 pixels"),
        (("large.png", *DIGITS), "densityguide data images . --shape 8x8x1 --out all.npz"),
        (("text.png", *DIGITS), "text.png cannot be decoded (Decompressed data too large"),
        (("script.png", *DIGITS), "script.png cannot be decoded (cannot identify"),
        (("plain.npz", *WORLD), "plain.npz, it is damaged"),
        (("claims.npz", *WORLD), "claims.npz, it is damaged (x.npy claims 44.7 GiB)"),
        (("pickle.npz", *WORLD), "pickle.npz, it is damaged"),
        (("long.npy", *WORLD), "expected float16, float32 or float64 in long.npy, got float128"),
        (("nan.npy", *WORLD), "nan.npy holds values that are not finite at row 2"),
        (("inf.npy", *WORLD), "inf.npy holds values that are not finite at row 2"),
        (("huge.npy", *WORLD), "huge.npy holds values that are not finite at row 2"),
        (("three.npy", *WORLD, "--count", "5"), "at least --count 5 samples, there are 3"),
        (("pipe.png", *DIGITS), "pipe.png is a device or a pipe"),
        (("pipe.npy", *WORLD), "pipe.npy is a device or a pipe"),
        (("folder.npy", *WORLD), "folder.npy is a folder"),
        (("gone.png", *DIGITS), "gone.png is a link to nothing"),
    ],
)
def test_density(run, files, arguments, words):
    if words.endswith("float128") and np.longdouble == np.float64:
        pytest.skip("no longer floats here")
    before = sorted(files.iterdir())
    assert words in run("density", *arguments).line
    assert sorted(files.iterdir()) == before


def test_only_pictures_in_a_folder_count(files):
    """Hidden files (a Mac leaves some), pipes, folders and dangling links are none."""
    folder = files / "mixed"
    folder.mkdir()
    (folder / "._a.png").write_bytes(b"no picture")
    (folder / "b.png").mkdir()
    (folder / "c.png").symlink_to("nowhere")
    os.mkfifo(folder / "d.png")
    GREY.save(folder / "e.PNG")
    given = inputs.open_inputs([folder], None, source.load("digits8"))
    assert list(given.names) == [str(folder / "e.PNG")]
    rng = np.random.default_rng(0)
    for index in range(60):
        pixels = rng.integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / ".cache").mkdir()
    GREY.save(folder / ".cache" / "f.png")
    found = data.load(str(folder), shape=(8, 8, 1))
    assert len(found.train) + len(found.heldout) == 61


def test_suffixes_in_capitals(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 12)))
    (tmp_path / "a.npy").rename(tmp_path / "A.NPY")
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 12)))
    (tmp_path / "b.npz").rename(tmp_path / "B.NPZ")
    for name in ("A.NPY", "B.NPZ"):
        found = inputs.open_inputs([tmp_path / name], None, source.load("world:mixture"))
        assert found.count == 2


def test_a_picture_is_turned_alike_everywhere(tmp_path):
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) % 17
    turned = Image.fromarray(pixels)
    exif = turned.getexif()
    exif[0x0112] = 6
    for index in range(2):
        turned.save(tmp_path / f"{index}.png", exif=exif)
    given = inputs.open_inputs([tmp_path], None, source.load("digits8")).read(0, 1)[0, ..., 0]
    trained = data.folder.decode(tmp_path / "0.png", (8, 8, 1))[..., 0]
    np.testing.assert_array_equal(given, trained)
    np.testing.assert_array_equal(given, np.rot90(pixels, -1))


def test_an_array_is_chosen_among_those_that_fit(run, tmp_path):
    held = np.zeros((2, 8, 8, 1), np.uint8)
    rest = {"levels": np.asarray(17), "checksum": np.asarray("ab"), "licence": np.asarray("mine")}
    np.savez(tmp_path / "set.npz", train=held, heldout=held, **rest)
    line = run("density", "set.npz", *DIGITS).line
    assert "set.npz holds heldout, train: --array must say which, as --array heldout" in line
    np.savez(tmp_path / "one.npz", heldout=held, **rest)
    assert inputs.open_inputs([tmp_path / "one.npz"], None, source.load("digits8")).count == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts pages")
def test_a_few_rows_of_many_take_little_memory(tmp_path):
    """31 million rows of zeros in a file of 1.5 MB."""
    path, rows = tmp_path / "many.npz", 31 * 10**6
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stored,
        stored.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(member((rows, 12), b""))
        block = b"\0" * (48 * 10**5)
        for _ in range(rows // 10**5):
            file.write(block)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    given = inputs.open_inputs([path], None, source.load("world:mixture"), 1)
    assert given.count == 1
    assert list(given.names) == ["0"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_names_of_rows_are_made_when_asked_for():
    names = inputs._Numbers(range(10**12))
    assert len(names) == 10**12
    assert names[10**11] == "100000000000"
    assert list(names[5:7]) == ["5", "6"]


def test_shapes_have_an_end(run, tmp_path):
    (tmp_path / "album").mkdir()
    GREY.save(tmp_path / "album" / "a.png")
    line = run("data", "images", "album", "--shape", "1000000x1000000x3").line
    assert "at most 16,777,216 numbers" in line
