import jax
import jax.numpy as jnp
import numpy as np
import pytest

from densityguide.flow import paths
from densityguide.flow.predictions import convert, score_from
from densityguide.training.config import Loss
from densityguide.training.loss import clock_of, denoising_loss, error_scale, levels, noised, target
from densityguide.training.noise_levels import NoiseLevels

LEVELS = NoiseLevels(-9.0, 8.0, 0.5, 1.5, 0.6)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_density_integrates_to_one(share):
    grid = jnp.linspace(-9.0, 8.0, 20001)
    density = LEVELS._replace(share=share).density(grid)
    np.testing.assert_allclose(jnp.trapezoid(density, grid), 1.0, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_draws_follow_the_density(share):
    chosen = LEVELS._replace(share=share)
    draws = np.sort(chosen.draw(jax.random.key(0), 20000))
    grid = jnp.linspace(-9.0, 8.0, 20001)
    cumulative = jnp.cumsum(chosen.density(grid)) * (grid[1] - grid[0])
    found = jnp.interp(draws, grid, cumulative)
    assert float(jnp.abs(found - (jnp.arange(20000) + 0.5) / 20000).max()) < 2e-3
    assert draws.min() >= -9.0
    assert draws.max() <= 8.0


def test_importance_weights_are_unbiased_for_the_weighting():
    # E_q[w / q f] over many small batches against a quadrature of w f.
    proposal, weighting = levels(Loss(proposal_share=0.7, weighting_share=0.2))

    def f(t):
        return jnp.cos(0.3 * t) + 0.1 * t

    grid = jnp.linspace(-9.0, 8.0, 20001)
    exact = jnp.trapezoid(weighting.density(grid) * f(grid), grid)
    keys = jax.random.split(jax.random.key(1), 2000)
    draws = jax.vmap(lambda key: proposal.draw(key, 8))(keys)
    estimates = (weighting.density(draws) / proposal.density(draws) * f(draws)).mean(1)
    error = float(estimates.std() / jnp.sqrt(len(keys)))
    assert abs(float(estimates.mean() - exact)) < 4 * error
    plain = jax.vmap(lambda key: weighting.draw(key, 8))(keys)
    assert estimates.std() < f(plain.reshape(-1)).std() / jnp.sqrt(8.0), "stratified beats random"


def test_v_target_gives_back_data_and_noise():
    path = paths.variance_preserving()
    x0, eps = jax.random.normal(jax.random.key(0), (2, 5))
    t = jnp.asarray(0.7)
    x, v = noised(path, x0, eps, t), target(path, "v", x0, eps, t)
    alpha, sigma = path.alpha(t), path.sigma(t)
    np.testing.assert_allclose(alpha * x - sigma * v, x0, atol=1e-6)
    np.testing.assert_allclose(alpha * v + sigma * x, eps, atol=1e-6)


def test_velocity_target_on_the_linear_path_is_a_difference():
    x0, eps = jax.random.normal(jax.random.key(0), (2, 5))
    found = target(paths.linear(), "velocity", x0, eps, jnp.asarray(-1.3))
    np.testing.assert_allclose(found, x0 - eps, rtol=1e-4, atol=1e-5)


def test_perfect_network_has_the_known_floor():
    # Data N(0, I): E[v | x] = 0 on the variance preserving path, and E v^2 = 1.
    x0 = jax.random.normal(jax.random.key(0), (4096, 4))
    loss = Loss(proposal_share=0.5, weighting_share=0.5)
    value = denoising_loss(lambda p, x, t: 0 * x, {}, x0, jax.random.key(1), loss)
    np.testing.assert_allclose(value, 1.0, atol=0.05)


@pytest.mark.parametrize(("name", "path"), [("nose", "linear"), ("v", "linear")])
def test_impossible_predictions_are_refused(name, path):
    with pytest.raises(ValueError, match=r"expected loss\.prediction"):
        target(getattr(paths, path)(), name, jnp.ones(2), jnp.ones(2), jnp.asarray(0.0))


CASES = [
    *((kind, path) for kind in ("noise", "data") for path in ("variance_exploding", "linear")),
    *((kind, "variance_preserving") for kind in ("noise", "data", "v", "velocity")),
    ("velocity", "linear"),
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_a_network_is_taught_is_what_a_flow_takes_it_for(kind, name):
    """The target of one noisy sample, read as a prediction, is its noise again."""
    path, clock = getattr(paths, name)(), clock_of(kind)
    x0, eps = jax.random.normal(jax.random.key(0), (2, 5))
    for level in (-4.0, 0.3, 3.0):
        log_snr = jnp.asarray(level)
        x = noised(path, x0, eps, log_snr)
        out = target(path, kind, x0, eps, log_snr)
        score = score_from(out, x, log_snr, path=path, prediction=kind, clock=clock)
        np.testing.assert_allclose(-path.sigma(log_snr) * score, eps, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_errors_in_one_quantity_are_errors_in_another(kind, name):
    """A network wrong by d in x0 is wrong by sqrt(error_scale) d in what it predicts."""
    path, log_snr = getattr(paths, name)(), jnp.asarray(0.7)
    if kind == "velocity" and name != "linear":
        return
    x0, eps, wrong = jax.random.normal(jax.random.key(1), (3, 5))
    x = noised(path, x0, eps, log_snr)
    outs = [
        convert(a, x, log_snr, path=path, source="data", target=kind, clock=clock_of(kind))
        for a in (x0, x0 + wrong)
    ]
    ratio = jnp.sum((outs[1] - outs[0]) ** 2) / jnp.sum(wrong**2)
    np.testing.assert_allclose(ratio, error_scale(kind, log_snr), rtol=1e-4)


def test_families_minimise_the_same_loss():
    """Networks that are the same function of x / alpha have the same loss in a common error."""
    x0 = 0.3 * jax.random.normal(jax.random.key(0), (64, 4))
    key, losses = jax.random.key(1), []
    for kind, name in (("v", "variance_preserving"), ("data", "variance_exploding")):
        path = getattr(paths, name)()

        def apply(params, x, log_snr, path=path, kind=kind):
            guess = 0.5 * x / path.alpha(log_snr)
            return convert(guess, x, log_snr, path=path, source="data", target=kind)

        loss = Loss(prediction=kind, error="v", path=name)
        losses.append(denoising_loss(apply, None, x0, key, loss))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    with pytest.raises(ValueError, match=r"expected loss\.error"):
        denoising_loss(lambda p, x, t: x, None, x0, key, Loss(error="noises"))
