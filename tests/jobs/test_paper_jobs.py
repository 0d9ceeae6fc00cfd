"""configs/paper on a tiny EDM2 network: the rehearsal runs, and every figure's job can begin."""

from pathlib import Path

import jax
import numpy as np
import pytest

import densityguide as dg
from densityguide import jobs
from densityguide.app import source
from densityguide.app.jobs import alignment, config, sampling
from studies import edm2_tiny

PAPER = Path(__file__).parents[2] / "configs" / "paper"
FIGURES = sorted(PAPER.glob("edm2-*.toml"))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "edm2-tiny"
    dg.models.save_edm2(edm2_tiny.arrays(), folder, head=edm2_tiny.HEAD)
    return folder


def test_the_rehearsal_runs(tiny, tmp_path):
    job = jobs.read(PAPER / "rehearsal.toml", [f"model={tiny}"])
    rows = jobs.run(job, tmp_path / "out")["rows"]
    found = [row["log_density_nats"] for row in rows]
    print(found)
    assert [row["value"] for row in rows] == list(job.guidance.values)
    assert all(row["failed"] == 0 for row in rows)
    np.testing.assert_allclose(found, [-225, -187, -149], atol=8)  # what its header says


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_every_figure_can_begin(tiny, path):
    """Traced as it is, but for the model, its classes and pictures, which want an autoencoder."""
    told = [f"model={tiny}", "condition=1", "solve.divergence=orthogonal"]
    named = config.read(path)
    job = config.read(path, [*told, *(["images=false"] if hasattr(named, "images") else [])])
    assert named.model == "edm2-img512-s"
    prepare = alignment.prepare if isinstance(job, config.Alignment) else sampling.prepare
    values = job.guidance.values if isinstance(job, config.Sampling) else [None]
    assert prepare(job, {}).samples == job.count * len(values)


def test_pictures_without_an_autoencoder_are_refused(tiny):
    job = config.read(PAPER / "rehearsal.toml", [f"model={tiny}", "images=true"])
    with pytest.raises(ValueError, match=r"makes no pictures.*its autoencoder inside, as vae"):
        sampling.prepare(job, {})


def test_rescale_is_prior_guidance_of_the_same_latents(tmp_path):
    values = (0.2, 0.8)
    job = jobs.Sampling(
        "world:gaussian",
        3,
        seed=5,
        guidance=jobs.Guidance("rescale", values),
        solve=jobs.Solve(steps=12),
        output=jobs.Output(shard=6, block=3),
    )
    summary = jobs.run(job, tmp_path / "out")
    found, flow = jobs.open(tmp_path / "out"), source.load("world:gaussian").flow
    assert [row["value"] for row in summary["rows"]] == pytest.approx(values)
    for row, (q, index) in enumerate((q, index) for q in values for index in range(3)):
        key = jax.random.split(jax.random.fold_in(jax.random.key(5), index))[0]
        alone = dg.sample(flow, dg.rescale(flow, dg.latent(flow, key), q), steps=12)
        np.testing.assert_allclose(found["x"][row], alone.x, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found["log_density"][row], alone.log_density, rtol=1e-4)
