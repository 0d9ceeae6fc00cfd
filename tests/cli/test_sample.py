"""``densityguide sample``: what it writes, and that it says the truth."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from densityguide.app import source, summary
from densityguide.app.commands import blocks, sample
from densityguide.disk import folders

QUICK = ("sample", "--model", "world:mixture", "--count", "8", "--q", "0.4,0.5")  # one compile


def test_files_and_table(run, tmp_path):
    outcome = run(*QUICK)
    assert outcome.status == 0
    assert outcome.err == ""  # no progress bar in a pipe
    folder = tmp_path / "samples"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["grid.png", "report.json", "samples.npz"]
    for word in ("0.4", "0.5", "log p (nats)", "unmet nats", "compilation cache", "Wrote"):
        assert word in outcome.out
    arrays = np.load(folder / "samples.npz")
    assert arrays["x"].shape == (2, 8, 12)
    assert set(arrays.files) >= {"log_density", "standard_error", "q", "seed", "status", "unmet"}
    Image.open(folder / "grid.png").verify()
    report = json.loads((folder / "report.json").read_text())
    np.testing.assert_allclose(
        [row["log_density_nats"] for row in report["rows"]],
        arrays["log_density"].mean(1),
        rtol=1e-5,
    )
    assert not (folder / "dial.html").exists()  # of pictures only
    assert set(report["seconds"]) == {"load", "trace", "compile", "run", "write", "total"}
    assert sorted(report["files"]) == names


def test_same_bytes_twice_and_other_seed(run, tmp_path):
    file = tmp_path / "samples" / "samples.npz"
    run(*QUICK)
    first = file.read_bytes()
    run(*QUICK)  # into its own folder again
    assert file.read_bytes() == first
    run(*QUICK, "--seed", "1")
    assert file.read_bytes() != first


def test_nothing_of_an_earlier_run_is_left(tmp_path):
    """What the report lists goes with it; files of others stay, whatever the report says."""
    folder = tmp_path / "samples"

    def write(**texts):
        names = {f"{name}.txt": text for name, text in texts.items()}
        files = {
            name: lambda path, text=text: path.write_text(text) for name, text in names.items()
        }
        report = {"program": folders.MARK, "files": [*files, "report.json", "..", "../a", 7]}
        files["report.json"] = lambda path: folders.write_json(path, report)
        folders.write(folder, files)
        return sorted(path.name for path in folder.iterdir())

    assert write(a="1", b="2") == ["a.txt", "b.txt", "report.json"]
    (folder / "notes.txt").write_text("mine")
    (tmp_path / "a").write_text("elsewhere")
    assert write(b="3", c="4") == ["b.txt", "c.txt", "notes.txt", "report.json"]
    assert (folder / "b.txt").read_text() == "3"
    assert (tmp_path / "a").read_text() == "elsewhere"
    (folder / "report.json").write_text('{"program": "densityguide", "files": 5}')
    assert "c.txt" in write(b="5")


def test_json(run):
    outcome = run(*QUICK, "--json")
    report = json.loads(outcome.out)
    assert report["program"] == "densityguide"
    assert [row["q"] for row in report["rows"]] == [0.4, 0.5]
    assert report["rows"][0]["standard_error_nats"] > 0.0  # over the samples


def test_repeated_q(run):
    outcome = run(*QUICK[:5], "--q", "0.4", "--q", "0.5", "--json")
    assert json.loads(outcome.out)["settings"]["q"] == [0.4, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("world", ["mixture", "gaussian"])
def test_closed_form(run, tmp_path, world):
    arguments = ("sample", "--model", f"world:{world}", "--count", "8", "--json")
    report = json.loads(run(*arguments).out)
    assert report["largest_error_against_closed_form_nats"] < 0.05
    flow = source.load(f"world:{world}").flow
    arrays = np.load(tmp_path / "samples" / "samples.npz")
    alpha = flow.end_scale()
    exact = jax.vmap(jax.vmap(lambda x: flow.log_density(alpha * x, flow.interval[1])))(
        jnp.asarray(arrays["x"])
    )
    offset = flow.size * np.log(float(alpha))
    np.testing.assert_allclose(arrays["log_density"], exact + offset, atol=0.05)
    means = arrays["log_density"].mean(1)
    assert (np.diff(means) > 0).all()


@pytest.mark.slow
def test_count_does_not_change_earlier_samples(run, tmp_path):
    file = tmp_path / "samples" / "samples.npz"
    latents = [jax.random.key_data(blocks.sample_keys(3, 0, n)) for n in (2, 9)]
    np.testing.assert_array_equal(latents[0], latents[1][:2])
    run(*QUICK, "--count", "9")
    long = np.load(file)["x"]
    run(*QUICK, "--count", "17")
    np.testing.assert_array_equal(np.load(file)["x"][:, :9], long)


def test_rows_share_one_program(run, monkeypatch):
    calls = []
    original = sample.compile_row
    monkeypatch.setattr(sample, "compile_row", lambda *a: calls.append(1) or original(*a))
    run(*QUICK[:5], "--q", "0.3,0.4,0.5,0.6")
    assert calls == [1]


def test_failed_write_leaves_nothing(run, tmp_path, monkeypatch):
    from densityguide.disk import folders as folder

    def full(path, arrays):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "write_npz", full)
    assert "No space left" in run(*QUICK).err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_images(run, tmp_path):
    outcome = run(
        "sample", "--model", "digits8", "--count", "2", "--q", "0.35,0.65", "--steps", "8", "--json"
    )
    report = json.loads(outcome.out)
    rows = report["rows"]
    assert rows[0]["log_density_nats"] < rows[1]["log_density_nats"]
    assert rows[0]["bits_per_dim"] > rows[1]["bits_per_dim"]
    assert rows[0]["evaluations"] == 18  # decoded, and encoded again
    assert rows[0]["png_bytes"] > 0
    assert -1 <= report["spearman_of_minus_log_p_with_png_bytes"] <= 1
    arrays = np.load(tmp_path / "samples" / "samples.npz")
    assert arrays["images"].shape == (2, 2, 8, 8, 1)
    assert arrays["images"].dtype == np.uint8
    assert arrays["images"].max() <= 16
    flow = source.load("digits8").flow
    np.testing.assert_allclose(
        rows[0]["bits_per_dim"],
        flow.transform.bits_per_dim(arrays["log_density"][0].mean(), flow.size),
        rtol=1e-5,
    )


def test_failed_samples_are_left_out_and_counted():
    from densityguide.steer.sample import Sample

    ones = np.ones(4, np.float32)
    out = Sample(
        x=np.zeros((4, 12)),
        log_density=np.asarray([1.0, 2.0, 3.0, np.nan]),
        standard_error=ones,
        degrees_of_freedom=ones,
        solver_error=ones,
        total_error=ones,
        tracked=ones,
        tracked_error=ones,
        unmet=ones,
        evaluations=ones,
        tangents=ones,
        status=np.asarray([0, 0, 4, 1]),
        noise_level=ones,
        path=None,
    )
    row = summary.row(source.load("world:mixture").flow, {"q": 0.5}, out, None, 1.0)
    assert row["failed"] == 1
    assert row["log_density_nats"] == 2.0
    np.testing.assert_allclose(row["standard_error_nats"], 1 / 3**0.5)  # over the samples
    np.testing.assert_allclose(row["measured_within_nats"], 1.0)
    assert row["status"] == {"NON_FINITE": 1, "UNMET": 1}
    json.dumps(summary.plain(row | {"x": float("nan")}), allow_nan=False)


def test_data(run, tmp_path):
    outcome = run("data", "digits")
    assert outcome.status == 0
    for word in ("training", "8 x 8 x 1", "SHA-256", "CC BY"):
        assert word in outcome.out
    first = (tmp_path / "digits8.npz").read_bytes()
    run("data", "digits")
    assert (tmp_path / "digits8.npz").read_bytes() == first
