"""What jobs compute and write, in this process."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from densityguide import alignment_report, bits_per_dim, data, parallel, solve
from densityguide.app import jobs, source
from densityguide.app.jobs import Alignment, Density, Guidance, Noise, Output, Sampling, Solve, work
from densityguide.app.jobs.work import options
from densityguide.disk import settings
from densityguide.disk.atomic import PART
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling

SMALL = Sampling(
    "world:gaussian",
    count=5,
    seed=3,
    guidance=Guidance("quantile", (0.45, 0.55)),
    solve=Solve(steps=6),
    output=Output(shard=4, block=2),
)


def arrays(out) -> dict[str, np.ndarray]:
    parts = [np.load(path) for path in sorted((out / "shards").glob("*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("small") / "out"
    return out, jobs.run(SMALL, out)


@pytest.mark.slow
def test_a_sample_is_known_by_its_index_alone(done):
    """Key = fold_in(key(seed), index), the same at every value of the guidance."""
    out, _ = done
    found, flow = arrays(out), source.load("world:gaussian").flow
    for row, q in enumerate(SMALL.guidance.values):
        for index in (0, 4):
            alone = sampling.draw(
                flow,
                jax.random.fold_in(jax.random.key(3), index),
                guidance=guidance.quantile(q),
                steps=6,
            )
            where = row * SMALL.count + index
            np.testing.assert_allclose(found["x"][where], alone.x, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(
                found["log_density"][where], alone.log_density, rtol=1e-5, atol=1e-5
            )


def test_summary_is_about_the_arrays(done):
    out, summary = done
    found = arrays(out)
    assert [row["value"] for row in summary["rows"]] == [0.45, 0.55]
    for row, values in zip(summary["rows"], found["log_density"].reshape(2, 5), strict=True):
        assert row["samples"] == 5
        assert row["log_density_nats"] == pytest.approx(values.mean(dtype=np.float64), rel=1e-6)
    assert summary == json.loads((out / "summary.json").read_text())


def test_manifest_lists_every_shard(done):
    out, _ = done
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["finished"]
    assert [shard["start"] for shard in manifest["shards"]] == [0, 4, 8]
    assert manifest["shards"][-1]["stop"] == 10
    assert manifest["job"] == jobs.config.record(SMALL)
    evaluations = arrays(out)["evaluations"]
    assert sum(shard["evaluations"] for shard in manifest["shards"]) == evaluations.sum()


def test_a_finished_job_is_not_run_again(done, monkeypatch):
    out, summary = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(parallel, "pmap", None)
    monkeypatch.setattr(parallel, "_program", None)
    assert jobs.run(SMALL, out) == summary
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_what_is_missing_is_made_again(done):
    out, summary = done
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "shards" / "000001.npz").unlink()
    (out / "manifest.json").write_text(
        (out / "manifest.json").read_text().replace('"finished": true', '"finished": false')
    )
    assert jobs.run(SMALL, out) == summary
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_another_job_is_refused_by_the_key_that_changed(done):
    out, _ = done
    other = dataclasses.replace(SMALL, seed=4)
    with pytest.raises(ValueError, match=r"another job \(seed was 3, is 4\)"):
        jobs.run(other, out)


def test_other_weights_are_refused(done, tmp_path):
    out, _ = done
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["facts"]["model"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="the model changed"):
        jobs.run(SMALL, tmp_path)


@pytest.mark.parametrize("damage", [{"job": 3}, {"facts": None}, {"environments": {}}])
def test_a_damaged_manifest_is_said_to_be(done, tmp_path, damage):
    manifest = json.loads((done[0] / "manifest.json").read_text()) | damage
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="is damaged: put it back"):
        jobs.run(SMALL, tmp_path)


@pytest.mark.parametrize(
    "lose",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"mine": 1}'),
    ],
)
def test_a_lost_summary_is_made_again_from_the_shards(done, monkeypatch, lose):
    out, summary = done
    lose(out / "summary.json")
    monkeypatch.setattr(parallel, "_program", None)  # nothing is sampled
    assert jobs.run(SMALL, out) == summary
    assert json.loads((out / "summary.json").read_text()) == summary


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "thesis.pdf").mkdir()
    with pytest.raises(ValueError, match="holds files but no manifest"):
        jobs.run(SMALL, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"thesis.tex", "thesis.pdf"}


def test_what_a_killed_run_left_before_its_manifest_is_no_obstacle(done, tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / f".manifest.json.123{PART}").write_text("{")
    jobs.run(SMALL, tmp_path)
    assert (tmp_path / "summary.json").read_bytes() == (done[0] / "summary.json").read_bytes()
    assert not list(tmp_path.glob(f".*{PART}"))


def test_a_folder_in_place_of_a_file_is_said_to_be(done, tmp_path):
    shard = tmp_path / "out" / "shards" / "000000.npz"
    shard.mkdir(parents=True)
    shutil.copy(done[0] / "manifest.json", tmp_path / "out")
    with pytest.raises(ValueError, match=r"expected a file, .*000000\.npz is a folder: move it"):
        jobs.run(SMALL, tmp_path / "out")
    (tmp_path / "other" / ".lock").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"\.lock to be the lock of a run, it is a folder"):
        jobs.run(SMALL, tmp_path / "other")


def test_formats_and_places_hold_the_same(done, tmp_path):
    out, summary = done
    zarr = dataclasses.replace(SMALL, output=Output(shard=4, block=2, format="zarr"))
    place = f"memory://{tmp_path}/job"
    assert jobs.run(zarr, place) == summary
    from upath import UPath

    from densityguide.app.jobs import arrays as files

    stored = files.read(UPath(place) / "shards" / "000001.zarr", ["x"])["x"]
    np.testing.assert_array_equal(stored, arrays(out)["x"][4:8])


@pytest.mark.slow
def test_a_tolerance_chooses_the_steps_once(tmp_path, monkeypatch):
    """The number is kept, so that what resumes is the same job however it was found."""
    job = dataclasses.replace(SMALL, solve=Solve(tolerance=0.01))
    jobs.run(job, tmp_path)
    steps = json.loads((tmp_path / "manifest.json").read_text())["facts"]["number of steps"]
    wide = dataclasses.replace(job, solve=Solve(tolerance="1.0"))
    jobs.run(wide, tmp_path / "wide")
    facts = json.loads((tmp_path / "wide" / "manifest.json").read_text())["facts"]
    assert 8 <= facts["number of steps"] < steps <= 256
    before = (tmp_path / "shards" / "000000.npz").read_bytes()
    (tmp_path / "shards" / "000000.npz").unlink()

    def never(*given):
        raise AssertionError("looked for again")

    monkeypatch.setattr(work.requests, "steps_within", never)
    jobs.run(job, tmp_path)
    assert (tmp_path / "shards" / "000000.npz").read_bytes() == before


@pytest.mark.parametrize("given", [{"rtol": 1e-3}, {"atol": 1e-2}, {"rtol": 1e-3, "atol": 1e-2}])
def test_either_tolerance_makes_the_solve_adaptive(given):
    loaded = source.load("world:gaussian")
    chosen, _, _ = options(dataclasses.replace(SMALL, solve=Solve(**given)), loaded, {})
    assert chosen == given
    method, _ = solve.plan(loaded.flow, **chosen)
    assert method.adaptive


@pytest.mark.slow
def test_plain_noisy_and_adaptive(tmp_path):
    """Options reach the solve."""
    plain = dataclasses.replace(SMALL, guidance=Guidance(), count=2)
    settings_of = {
        "plain": plain,
        "noisy": dataclasses.replace(plain, noise=Noise(0.3, (-3.0, 9.0))),
        "adaptive": dataclasses.replace(plain, solve=Solve(rtol=1e-3, atol=1e-3)),
    }
    found = {}
    for name, job in settings_of.items():
        assert jobs.run(job, tmp_path / name)["rows"][0]["value"] is None
        found[name] = arrays(tmp_path / name)
    assert np.abs(found["plain"]["x"] - found["noisy"]["x"]).max() > 1e-2
    assert len(set(found["plain"]["evaluations"])) == 1
    assert found["adaptive"]["evaluations"].max() != found["plain"]["evaluations"].max()


@pytest.mark.slow
def test_a_job_lands_on_its_targets(tmp_path):
    asked = Guidance("target", (-16.0, -20.0), land=True)
    job = Sampling("world:mixture", 4, guidance=asked, images=False, states=True)
    summary = jobs.run(job, tmp_path)
    found = arrays(tmp_path)
    wanted = np.repeat([-16.0, -20.0], 4)
    reached = (found["status"] & 16) == 0
    assert reached.mean() >= 0.5
    near = 2e-4 * 12 * np.log(2.0) + found["total_error"]
    assert (np.abs(found["log_density"] - wanted) <= near)[reached].all()
    assert len(found["parameter"]) == 8
    assert [row["samples"] for row in summary["rows"]] == [4, 4]


@pytest.mark.slow
def test_log_density_of_a_data_set(tmp_path):
    job = Density("digits8", "digits8", count=3, draws=2, solve=Solve(steps=4), seed=1)
    summary = jobs.run(job, tmp_path)
    found = arrays(tmp_path)
    flow, digits = source.load("digits8").flow, data.load("digits8")
    alone = bits_per_dim(
        flow, digits.heldout[:1], jax.random.fold_in(jax.random.key(1), 0), draws=2, steps=4
    )
    assert summary["samples"] == 3
    assert np.isfinite(found["log_density"]).all()
    np.testing.assert_allclose(found["bits_per_dim"][0], alone.value[0], rtol=1e-4)


def test_another_split_of_the_same_data_is_refused(tmp_path):
    points = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
    file = tmp_path / "points.npz"
    job = Density("world:mixture", str(file), solve=Solve(steps=2), output=Output(4, 4))
    np.savez(file, train=points[:4], heldout=points[4:])
    jobs.run(job, tmp_path / "out")
    np.savez(file, train=points[:2], heldout=points[2:])
    with pytest.raises(ValueError, match="the split of the data changed since"):
        jobs.run(job, tmp_path / "out")


@pytest.mark.slow
def test_alignment_agrees_with_the_report(tmp_path):
    """The same rate, within both intervals, from other latents."""
    job = Alignment("world:gaussian", 64, solve=Solve(steps=8), output=Output(64, 16))
    summary = jobs.run(job, tmp_path)
    flow = source.load("world:gaussian").flow
    report = alignment_report(flow, jax.random.key(0), count=64, steps=8)
    assert summary["interval_95"][0] <= float(report.high)
    assert float(report.low) <= summary["interval_95"][1]
    assert summary["pass_rate"] == np.mean(arrays(tmp_path)["value"] > 0)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (dataclasses.replace(SMALL, model="digits9"), "digits9"),
        (dataclasses.replace(SMALL, images=True), "makes no pictures"),
        (dataclasses.replace(SMALL, condition="3"), "^condition belongs to models"),
        (
            Alignment("world:gaussian", 8, condition="3"),
            "^condition belongs to models",
        ),
        (dataclasses.replace(SMALL, solve=Solve(steps=5, rtol=0.1)), "solve.steps or solve.rtol"),
        (
            dataclasses.replace(SMALL, solve=Solve(tolerance="0.01bpd")),
            "solve.tolerance 0.01bpd is in bits/dim, which only models of integer data have",
        ),
        pytest.param(
            dataclasses.replace(SMALL, solve=Solve(tolerance="1e-9")),
            "solve.tolerance 1e-9 is not met by 256 steps and trace exact: take a wider one",
            marks=pytest.mark.slow,
        ),
        (Density("digits8", "emoji33"), "did you mean 'emoji32'"),
        (Density("digits8", "digits8", condition="3"), "^condition belongs to models"),
        (Density("digits8", "digits8", count=10**6), "expected count up to"),
        (Density("world:gaussian", "digits8"), "choose a model of these data"),
    ],
)
def test_refusals_leave_nothing_behind(tmp_path, job, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        jobs.run(job, tmp_path / "out")
    assert "\n" not in str(caught.value)
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert left in ([], [".lock"])


def test_settings_are_plain_data():
    record = jobs.config.record(SMALL)
    assert settings.build(Sampling, {k: v for k, v in record.items() if k != "kind"}) == SMALL


@pytest.mark.parametrize("content", ["", '{"program": "densityguide run", "jo', '{"program": 1}'])
def test_a_manifest_that_was_cut_short_is_said_to_be(done, tmp_path, content):
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    (out / "manifest.json").write_text(content)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("shards/*.npz")}
    if content.endswith("1}"):  # a whole one, of another program
        with pytest.raises(ValueError, match=r"holds files but no manifest\.json of a job"):
            jobs.run(SMALL, out, repair=True)
        return
    with pytest.raises(ValueError, match=r"manifest\.json is damaged: .* by --repair"):
        jobs.run(SMALL, out)
    assert jobs.run(SMALL, out, repair=True) == done[1]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    (out / "thesis.tex").write_text("mine")
    (out / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match="holds files but no manifest"):
        jobs.run(SMALL, out, repair=True)


def test_a_refused_job_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="unknown model"):
        jobs.run(dataclasses.replace(SMALL, model="nothing"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
