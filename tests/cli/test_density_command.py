"""``densityguide density``: log p of arrays and pictures, as the verbs measure it."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import densityguide as dg
from densityguide.app import source
from densityguide.app.commands import blocks, inputs

pytestmark = pytest.mark.usefixtures("unoptimised")

WORLD = ("--model", "world:mixture")


@pytest.fixture
def points(tmp_path):
    """Samples of the world's own path end, [9, 12]: more than a block."""
    flow = source.load("world:mixture").flow
    keys = jax.random.split(jax.random.key(3), 9)
    centres = np.asarray([[1.6, *[0.0] * 11]] * 9, np.float32)
    noise = jax.vmap(lambda key: 0.3 * jax.random.normal(key, flow.shape))(keys)
    file = tmp_path / "points.npy"
    np.save(file, centres + np.asarray(noise))
    return file


@pytest.mark.slow
def test_closed_form_and_files(run, tmp_path, points):
    outcome = run("density", points, *WORLD, "--steps", "128", "--out", "found.npz")
    assert outcome.status == 0
    assert outcome.err == ""
    for word in ("log p (nats)", "ok", "mean", "between samples", "Wrote found.npz"):
        assert word in outcome.out
    assert "bits/dim" not in outcome.out  # nothing is an integer
    found = np.load(tmp_path / "found.npz")
    flow = source.load("world:mixture").flow
    alpha, end = flow.end_scale(), flow.interval[1]
    exact = jax.vmap(lambda x: flow.log_density(alpha * x, end))(np.load(points))
    exact += flow.size * np.log(float(alpha))
    np.testing.assert_allclose(found["log_density"], exact, atol=0.02)
    assert (found["status"] == 0).all()
    # Its own file may be written again; nobody else's.
    assert run("density", points, *WORLD, "--out", "found.npz").status == 0
    assert "did not write" in run("density", points, *WORLD, "--out", points).line


def test_first_samples_do_not_depend_on_the_others(run, points):
    options = (*WORLD, "--json", "--probes", "2", "--steps", "16", "--seed", "5")
    whole = json.loads(run("density", points, *options).out)
    part = json.loads(run("density", points, *options, "--count", "8").out)
    assert len(whole["samples"]) == 9
    assert whole["samples"][:8] == part["samples"]
    assert whole["samples"][0]["standard_error_nats"] > 0
    assert whole["settings"]["trace"] == "orthogonal, 2 probes"
    values = [row["log_density_nats"] for row in whole["samples"]]
    np.testing.assert_allclose(whole["mean"]["log_density_nats"], np.mean(values), rtol=1e-6)


def test_failed_samples_say_so(run, tmp_path):
    array = np.zeros((8, 12), np.float32)
    array[1, 0] = 1e30
    np.save(tmp_path / "some.npy", array)
    outcome = run("density", "some.npy", *WORLD)
    assert outcome.status == 0
    assert "NON_FINITE" in outcome.out
    assert "1 sample ended without a finite log p" in outcome.out
    assert run("density", "some.npy", *WORLD, "--count", "1").status == 0


def test_nothing_measured_is_no_success(run, tmp_path):
    np.save(tmp_path / "far.npy", np.full((3, 12), 1e30, np.float32))
    outcome = run("density", "far.npy", *WORLD)
    assert outcome.status == 1
    assert "3 samples ended without a finite log p" in outcome.out


@pytest.mark.slow
def test_pictures_and_their_integers_agree(run, tmp_path):
    """Pictures, the same integers in an array, and the verb: one answer."""
    images = np.random.default_rng(0).integers(0, 17, (2, 8, 8, 1), np.uint8)
    (tmp_path / "pictures").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / "pictures" / f"{index}.png")
    np.savez(tmp_path / "images.npz", other=np.zeros(3), images=images)
    options = ("--model", "digits8", "--steps", "6", "--draws", "2", "--json")
    files = json.loads(run("density", "pictures", *options).out)["samples"]
    arrays = json.loads(run("density", "images.npz", *options).out)["samples"]
    assert [row.pop("name") for row in files] == ["pictures/0.png", "pictures/1.png"]
    assert [row.pop("name") for row in arrays] == ["0", "1"]
    assert files == arrays
    flow = dg.models.load("digits8")
    keys = blocks.sample_keys(0, 0, 2)
    for row, image, key in zip(files, images, keys, strict=True):
        verb = dg.bits_per_dim(flow, image[None], key, draws=2, steps=6)
        np.testing.assert_allclose(row["bits_per_dim"], verb.value[0], rtol=1e-4)
        np.testing.assert_allclose(
            row["bits_per_dim"],
            flow.transform.bits_per_dim(row["log_density_nats"], flow.size),
            rtol=1e-6,
        )


def test_pictures_are_read_as_their_integers(tmp_path):
    images = np.random.default_rng(0).integers(0, 17, (3, 8, 8, 1), np.uint8)
    for index, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{index}.png")
    given = inputs.open_inputs([tmp_path], None, source.load("digits8"))
    assert given.integers
    assert given.count == 3
    np.testing.assert_array_equal(given.read(1, 3), images[1:])


@pytest.mark.slow
def test_own_samples_are_read_back(run, tmp_path):
    """log p that ``density`` measures of ``samples.npz`` is what ``sample`` reported."""
    run("sample", *WORLD, "--count", "8", "--q", "0.5")
    out = json.loads(run("density", "samples/samples.npz", *WORLD, "--json").out)
    told = np.load(tmp_path / "samples" / "samples.npz")["log_density"].ravel()
    np.testing.assert_allclose([row["log_density_nats"] for row in out["samples"]], told, atol=0.05)


def test_arrays_stay_on_disk(tmp_path):
    np.save(tmp_path / "many.npy", np.zeros((6, 12), np.float32))
    given = inputs.open_inputs([tmp_path / "many.npy"], None, source.load("world:mixture"))
    assert isinstance(inputs.read_array(tmp_path / "many.npy"), np.memmap)
    assert given.first(4).count == 4
    assert given.read(2, 5).shape == (3, 12)


DIGITS = ("--model", "digits8")


@pytest.fixture
def files(tmp_path):
    """Every wrong input, by name."""
    np.savez(tmp_path / "two.npz", a=np.zeros((1, 12)), b=np.zeros((1, 12)))
    np.save(tmp_path / "names.npy", np.asarray([["a"] * 12]))
    np.save(tmp_path / "none.npy", np.zeros((0, 12)))
    np.save(tmp_path / "whole.npy", np.zeros((1, 12), int))
    np.save(tmp_path / "levels.npy", np.full((1, 8, 8, 1), 17, np.uint8))
    (tmp_path / "torn.npz").write_bytes(b"PK")
    (tmp_path / "torn.npy").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty").mkdir()
    Image.new("L", (9, 8)).save(tmp_path / "wide.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "colour.png")
    Image.new("LA", (8, 8)).save(tmp_path / "clear.png")
    Image.new("F", (8, 8)).save(tmp_path / "float.tiff")
    Image.new("L", (8, 8), 200).save(tmp_path / "bright.png")
    whole = tmp_path / "half.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 17, (8, 8), np.uint8)).save(whole)
    whole.write_bytes(whole.read_bytes()[:60])
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.npy", *WORLD), "absent.npy does not exist"),
        (("absent", *DIGITS), "absent does not exist"),
        (("two.npz", *WORLD), "holds a, b: --array must say which, as --array a"),
        (("two.npz", *WORLD, "--array", "c"), "it has no array 'c'"),
        (("none.npy", *WORLD, "--array", "c"), "--array belongs to .npz files"),
        (("wide.png", *DIGITS, "--array", "c"), "--array belongs to one .npz file"),
        (("two.npz", "none.npy", *WORLD), "one array file or pictures"),
        (("torn.npz", *WORLD), "torn.npz, it is damaged"),
        (("torn.npy", *WORLD), "torn.npy, it is damaged"),
        (("names.npy", *WORLD), "expected numbers in names.npy, got <U1"),
        (("none.npy", *WORLD), "none.npy holds none"),
        (("none.npy", *DIGITS), "takes [n, 8, 8, 1], none.npy holds [0, 12]"),
        (("whole.npy", *WORLD), "declares no transform of integers"),
        (("levels.npy", *DIGITS), "integers from 0 to 16, the model's levels"),
        (("bright.png", *DIGITS), "bright.png holds 200 to 200"),
        (("empty", *DIGITS), "expected pictures in empty, it has none"),
        (("bright.png", *WORLD), "takes arrays [12], not pictures"),
        (("text.png", *DIGITS), "text.png cannot be decoded"),
        (("wide.png", *DIGITS), "is 9 x 8 pixels: resize it first"),
        (("colour.png", *DIGITS), "is in colour"),
        (("clear.png", *DIGITS), "is partly transparent"),
        (("float.tiff", *DIGITS), "is of mode F"),
        (("half.png", *DIGITS), "half.png cannot be decoded"),
        (("whole.npy", *WORLD, "--draws", "1"), "--draws must lie in 2"),
        (("whole.npy", *WORLD, "--out", "empty"), "--out must be a file"),
    ],
)
def test_refusals(run, files, arguments, words):
    before = sorted(files.iterdir())
    assert words in run("density", *arguments).line
    assert sorted(files.iterdir()) == before
