"""A user's program under a strict type checker: what the public names are said to take and give.

``mypy`` reads it (see pyproject.toml); nothing runs it.
"""

from typing import Any, assert_type

import jax
import jax.numpy as jnp
from jax import Array

import densityguide as dg


def apply(params: Any, x: Array, log_snr: Array) -> Array:
    return jnp.asarray(params["scale"]) * x


def program(key: Array, images: Array) -> None:
    flow = dg.diffusion(
        apply,
        params={"scale": 0.5},
        path=dg.paths.variance_preserving(),
        prediction="noise",
        log_snr=(-10.0, 10.0),
        shape=(2,),
        clock=dg.clocks.log_snr,
    )
    assert_type(flow, dg.Flow)
    assert_type(flow.score(jnp.zeros(2), 0.0), Array)
    other = dg.cnf(
        lambda x, t: -x, prior=dg.priors.normal((2,)), interval=(0.0, 1.0), shape=(2,), score=None
    )
    world = dg.worlds.mixture([0.6, 0.4], [[-1.0, 0.0], [1.5, 0.5]], [[0.5], [0.3]])
    free = dg.classifier_free(flow.given(3), 2.0, negative=-1)
    assert_type(dg.calibrate(free, key, count=16), dg.Flow)
    assert_type(dg.models.load("digits8"), dg.Flow)

    latent = dg.rescale(flow, dg.latent(flow, key), 0.7)
    out = dg.sample(
        flow,
        latent,
        guidance=dg.quantile(dg.knots([-10.0, 10.0], [0.5, 0.7])),
        noise=dg.noise.band(-3.0, 9.0, 0.3),
        divergence=dg.hutchinson(2),
        key=key,
        steps=16,
        solver=dg.Adams(2),
    )
    assert_type(out, dg.Sample)
    assert_type(out.x, Array)
    assert_type(out.log_density, Array | None)
    assert_type(dg.Status(int(out.status)), dg.Status)
    rules = [dg.target(-2.0), dg.budget(3.0), dg.rate(lambda x, t: t), dg.pinned(0.7)]
    assert_type(rules, list[dg.Guidance])

    measured = dg.log_density(other, out.x, divergence=dg.orthogonal(2), key=key)
    assert_type(measured.value + measured.standard_error, Array)
    assert_type(dg.bits_per_dim(flow, images, key, draws=2), dg.BitsPerDim)
    assert_type(dg.score_alignment(world, latent, direction=-latent).cosine, Array)
    assert_type(dg.alignment_report(world, key, direction=lambda x: -x).low, Array)
    assert_type(dg.match_log_density(world, latent, -2.0).parameter, Array)
    assert_type(dg.land(flow, latent, -2.0, along=dg.budget).x, Array)
    assert_type(dg.high_density(flow, latent, switch=4.0), dg.Sample)
    assert_type(dg.sample_sde(flow, latent, key), dg.SdeSample)
    assert_type(dg.elbo(flow, latent, key), dg.Elbo)
    assert_type(dg.verify(flow, key).passed, bool)
    assert_type(dg.cost(flow, batch=8).seconds, float)
    value, trace, error = dg.divergence(jnp.sin, latent, dg.exact(chunk=2))
    assert_type(value + trace + error, Array)
    jax.vmap(lambda key: dg.latent(flow, key))(jax.random.split(key, 4))
