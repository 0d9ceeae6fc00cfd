"""What jobs compute and write, in this process."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from small_job import SMALL, arrays

from densityguide import alignment_report, bits_per_dim, data, solve
from densityguide.app import jobs, source
from densityguide.app.jobs import Alignment, Density, Guidance, Noise, Output, Sampling, Solve, work
from densityguide.app.jobs.work import options
from densityguide.disk import settings
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling


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


def test_settings_are_plain_data():
    record = jobs.config.record(SMALL)
    assert settings.build(Sampling, {k: v for k, v in record.items() if k != "kind"}) == SMALL
