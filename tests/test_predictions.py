"""Conversions among noise, data, v, score and velocity, against the textbook formulas."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS

import densityguide as dg

KINDS = ("noise", "data", "v", "score", "velocity")
CLOCKS = {
    "log_snr": dg.clocks.log_snr,
    "flow": dg.clocks.flow_time,
    "reversed": dg.clocks.reversed_flow_time,
    "cosine": dg.clocks.cosine_time,
    "edm": dg.clocks.edm_noise,
    "ddpm": dg.clocks.ddpm(),
}


def allowed(path):
    return [kind for kind in KINDS if kind != "v" or path.preserves_variance]


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("name", PATHS)
def test_every_pair_round_trips(name, clock):
    path = PATHS[name]
    x, value = jax.random.normal(jax.random.key(0), (2, 3, 5))
    options = {"path": path, "clock": CLOCKS[clock]}
    pairs = list(product(allowed(path), repeat=2))

    @jax.jit
    def round_trips(x, value, level):
        def there_and_back(a, b):
            there = dg.predictions.convert(value, x, level, source=a, target=b, **options)
            return dg.predictions.convert(there, x, level, source=b, target=a, **options)

        return [there_and_back(a, b) for a, b in pairs]

    levels = jnp.asarray([[-4.3], [0.2], [5.1]])
    for (a, b), back in zip(pairs, round_trips(x, value, levels), strict=True):
        np.testing.assert_allclose(back, value, rtol=1e-9, atol=1e-9, err_msg=f"{a} to {b}")


@pytest.mark.parametrize("name", PATHS)
def test_against_the_definitions(name):
    """Everything of one noised point x = alpha x0 + sigma eps: its conditional score is
    -eps / sigma, and its velocity alpha' x0 + sigma' eps in any clock."""
    path = PATHS[name]
    x0, eps = jax.random.normal(jax.random.key(1), (2, 6))
    for level in (-6.0, -0.4, 3.0):
        level = jnp.asarray(level)
        alpha, sigma = path.alpha(level), path.sigma(level)
        x = alpha * x0 + sigma * eps
        score = -eps / sigma
        truth = {"noise": eps, "data": x0, "v": alpha * eps - sigma * x0, "score": score}
        for kind in allowed(path):
            if kind == "velocity":
                continue
            ours = dg.predictions.score_from(truth[kind], x, level, path=path, prediction=kind)
            np.testing.assert_allclose(ours, score, rtol=1e-8, atol=1e-8)
        for clock in CLOCKS.values():
            rise = [jax.grad(lambda t, f=f: f(t))(level) for f in (path.alpha, path.sigma, clock)]
            velocity = (rise[0] * x0 + rise[1] * eps) / rise[2]
            ours = dg.predictions.score_from(
                velocity, x, level, path=path, prediction="velocity", clock=clock
            )
            np.testing.assert_allclose(ours, score, rtol=1e-7, atol=1e-7)


def test_flow_matching_closed_forms():
    """alpha = t, sigma = 1 - t: s = (t w - x) / (1 - t); data at t = 0: s = -(x + (1-t) w) / t."""
    path = PATHS["linear"]
    x, w = jax.random.normal(jax.random.key(2), (2, 4))
    for t in (0.1, 0.5, 0.93):
        level = jnp.asarray(2 * np.log(t / (1 - t)))
        forward = dg.predictions.score_from(
            w, x, level, path=path, prediction="velocity", clock=dg.clocks.flow_time
        )
        np.testing.assert_allclose(forward, (t * w - x) / (1 - t), rtol=1e-10)
        backward = dg.predictions.score_from(
            w, x, -level, path=path, prediction="velocity", clock=dg.clocks.reversed_flow_time
        )
        np.testing.assert_allclose(backward, -(x + (1 - t) * w) / t, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PATHS)
def test_flow_from_any_prediction_is_the_world_it_came_from(name, kind, worlds):
    """A "network" that predicts exactly, in its own clock, gives the world's velocity."""
    truth = worlds("mixture12", name)
    if kind not in allowed(truth.path):
        with pytest.raises(ValueError, match="variance preserving"):
            dg.diffusion(lambda x, t: x, path=truth.path, prediction=kind, shape=(12,))
        return
    clock = dg.clocks.edm_noise

    def network(params, x, time):
        level = -8.0 * time
        score = truth.field(params, x, level)[1]
        return dg.predictions.score_to(
            score, x, level, path=truth.path, prediction=kind, clock=clock
        )

    flow = dg.diffusion(
        network,
        params=truth.params,
        path=truth.path,
        prediction=kind,
        clock=clock,
        log_snr=(-10.0, 8.0),
        shape=(12,),
    )
    x = jax.random.normal(jax.random.key(3), (12,))
    for level in (-7.0, 0.0, 6.0):
        np.testing.assert_allclose(flow.score(x, level), truth.score(x, level), rtol=1e-8)
        np.testing.assert_allclose(
            flow.velocity(x, level), truth.velocity(x, level), rtol=1e-7, atol=1e-10
        )


def test_v_is_refused_off_the_variance_preserving_path():
    x = jnp.ones(3)
    for name, (source, target) in product(("ve", "linear"), (("v", "noise"), ("noise", "v"))):
        with pytest.raises(ValueError, match="variance preserving"):
            dg.predictions.convert(x, x, 0.0, path=PATHS[name], source=source, target=target)
