"""Denoisers of azula are flows: the same posterior means, schedules and Gaussian log p."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.models.azula_schedule import NAMES, schedule_of

torch = pytest.importorskip("torch", reason="tested in an environment of its own")
pytest.importorskip("torchax", reason="tested in an environment of its own")
pytest.importorskip("azula", reason="tested in an environment of its own")

from azula import denoise, noise  # noqa: E402
from azula.linalg.covariance import DiagonalCovariance  # noqa: E402
from azula.plugins.edm import ElucidatedSchedule  # noqa: E402
from azula_denoisers import MADE, make  # noqa: E402

pytestmark = pytest.mark.slow

SCHEDULES = [
    noise.VESchedule(),
    ElucidatedSchedule(),
    noise.VPSchedule(),
    noise.VPSchedule(0.02, 0.05),
    noise.CosineSchedule(0.02, 0.05),
    noise.RectifiedSchedule(0.02, 0.05),
    noise.DecaySchedule(0.02, 0.05),
]


def log_snr_of(schedule, t):
    alpha, sigma = schedule(torch.as_tensor(t, dtype=torch.float64))
    return 2.0 * (np.log(alpha.numpy()) - np.log(sigma.numpy()))


def test_every_schedule_of_the_library_is_known():
    found = noise.Schedule.__subclasses__()
    kinds = {kind.__name__ for kind in found if kind.__module__.startswith("azula.")}
    assert kinds == set(NAMES)
    assert {type(schedule).__name__ for schedule in SCHEDULES} == kinds


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_path_clock_and_range_are_those_of_the_schedule(schedule):
    found = schedule_of(schedule)
    t = np.linspace(0.0, 1.0, 33)
    alpha, sigma = (part.numpy() for part in schedule(torch.as_tensor(t)))
    log_snr = log_snr_of(schedule, t)
    np.testing.assert_allclose(found.log_snr, (log_snr[-1], log_snr[0]), atol=1e-6)
    with jax.enable_x64(True):
        levels = jnp.asarray(log_snr)
        np.testing.assert_allclose(found.path.alpha(levels), alpha, rtol=1e-9)
        np.testing.assert_allclose(found.path.sigma(levels), sigma, rtol=1e-9)
        np.testing.assert_allclose(found.clock(levels), t, atol=1e-6)
    np.testing.assert_allclose(found.clock(jnp.asarray(log_snr, "f4")), t, atol=2e-3)


@pytest.mark.parametrize("schedule", SCHEDULES[::6], ids=lambda s: type(s).__name__)
def test_log_p_of_the_gaussian_denoiser_is_the_closed_form(schedule):
    mean, variance = torch.tensor([0.5, -1.0, 0.2]), torch.tensor([0.3, 1.0, 0.1])
    denoiser = denoise.GaussianDenoiser(mean, DiagonalCovariance(variance), schedule)
    flow = dg.models.from_azula(denoiser, (3,))
    x = np.asarray([0.1, -0.3, 0.4])
    found = dg.log_density(flow, jnp.asarray(x, "f4"), steps=64)

    def moments(level):
        alpha, sigma = (np.float64(part(level)) for part in (flow.path.alpha, flow.path.sigma))
        return alpha * mean.numpy(), np.sqrt(alpha**2 * variance.numpy() + sigma**2), sigma

    # The flow maps one Gaussian to another; its prior leaves out the mean that is left at its start
    (m0, s0, sigma), (m1, s1, _) = map(moments, flow.interval)
    latent = m0 + s0 / s1 * (np.float64(flow.end_scale()) * x - m1)
    truth = jax.scipy.stats.norm.logpdf(latent, 0.0, sigma) + np.log(s0 / s1 * flow.end_scale())
    assert abs(float(found.value - truth.sum())) < 3e-4 + float(found.total_error)


def posterior_mean(flow, x, log_snr):
    """E[x0 | x] by Tweedie's formula."""
    alpha, sigma = flow.path.alpha(log_snr), flow.path.sigma(log_snr)
    return (x + sigma**2 * flow.score(x, log_snr)) / alpha


def theirs(denoiser, x, t, condition, first):
    given = torch.tensor(np.moveaxis(x, -1, 0) if first else x)[None]
    told = jax.tree.map(lambda leaf: torch.as_tensor(leaf)[None], condition or {})
    with torch.no_grad():
        mean = denoiser(given, torch.tensor([t], dtype=torch.float32), **told).mean[0].numpy()
    return np.moveaxis(mean, 0, -1) if first else mean


@pytest.mark.parametrize("name", MADE)
def test_the_posterior_mean_of_every_denoiser(name):
    denoiser, shape, condition = make(name)
    flow = dg.models.from_azula(denoiser, shape, condition=condition)
    first = len(shape) == 3 and name != "flux"
    at = jax.jit(lambda flow, x, level: posterior_mean(flow, x, level))
    for seed, t in enumerate((0.2505, 0.5005, 0.8005)):
        level = log_snr_of(denoiser.schedule, t)
        x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        x *= float(flow.path.sigma(level) + flow.path.alpha(level))
        expected = theirs(denoiser, x, t, condition, first)
        size = np.abs(expected).max() + np.abs(x).max() / float(flow.path.alpha(level))
        np.testing.assert_allclose(at(flow, x, level), expected, atol=2e-4 * size, err_msg=f"{t}")


def test_another_condition_compiles_nothing_and_log_p_is_measured():
    denoiser, shape, condition = make("edm")
    flow = dg.models.from_azula(denoiser, shape, condition=condition)
    traces = []

    @jax.jit
    def draw(flow, latent):
        traces.append(1)
        return dg.sample(flow, latent, divergence=dg.exact(), steps=8)

    latent = dg.latent(flow, jax.random.key(0))
    one = draw(flow, latent)
    other = draw(flow.given({"label": np.eye(5, dtype="f4")[0]}), latent)
    assert len(traces) == 1
    assert float(jnp.abs(one.x - other.x).max()) > 1e-4
    assert bool(jnp.isfinite(one.log_density))


class Own(noise.Schedule):
    def __call__(self, t):
        return torch.ones_like(t), 0.01 + t


def test_a_clipped_mean_is_said_and_the_users_denoiser_left_alone():
    denoiser, shape, condition = make("adm")
    denoiser.clip_mean = True
    with pytest.warns(UserWarning, match="clips its means") as seen:
        dg.models.from_azula(denoiser, shape, condition=condition)
    said = [one for one in seen if "clips its means" in str(one.message)]
    assert said[0].filename == __file__
    assert denoiser.clip_mean


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda d: dg.models.from_azula(torch.nn.Linear(2, 2), (2,)), "takes a denoiser of azula"),
        (lambda d: dg.models.from_azula(d, (6, 3), condition=3), "must be a dict of the denoiser"),
        (
            lambda d: dg.models.from_azula(d, (6, 3), log_snr=(-30.0, 5.0)),
            "start at or above -13.8",
        ),
        (lambda d: dg.models.from_azula(d, (6, 3), log_snr=(-5.0, 30.0)), "end at or below 13.8"),
        (
            lambda d: dg.models.from_azula(denoise.KarrasDenoiser(d.backbone, Own()), (6, 3)),
            "unknown schedule Own of azula, expected one of VESchedule",
        ),
        (
            lambda d: dg.models.from_azula(
                denoise.KarrasDenoiser(d.backbone, noise.VPSchedule(1e-3, 0.0)), (6, 3)
            ),
            "numbers of VPSchedule must be positive",
        ),
    ],
)
def test_misuse_is_one_line(given, words):
    with pytest.raises(ValueError, match=words) as caught:
        given(make("karras-dit")[0])
    assert "\n" not in str(caught.value)
