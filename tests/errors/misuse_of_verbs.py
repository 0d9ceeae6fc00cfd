"""Latents, matching, alignment, likelihood."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from makers import Uniform, Unit, bare, build, key, wide, wide_scored, world, x

import densityguide as dg


def bits(images=np.ones((1, 2), np.uint8), key=jax.random.key(0), transform=Unit(), **options):  # noqa: B008
    return dg.bits_per_dim(
        dataclasses.replace(world(), transform=transform), images, key, **options
    )


def track(flow, key, **options):
    still = {"drift": lambda x, t: x, "diffusion": lambda x, t, w: w}
    return dg.track_sde(flow, x(), key, **still, **options)


MISUSES = {
    "a quantile as text": (lambda: dg.quantile("0.7"), "expected a number, got '0.7'"),
    "a target as text": (lambda: dg.target("high"), "expected a number, got 'high'"),
    "no target": (lambda: dg.target(None), "expected a number, got None"),
    "a landing on text": (lambda: dg.land(world(), x(), "high"), "expected a number, got 'high'"),
    "a rescaling by text": (lambda: dg.rescale(world(), x(), "0.7"), "expected a number"),
    # one sample of the flow's shape
    "batch": (lambda: dg.sample(world(), jnp.ones((5, 2))), "use jax.vmap for a batch"),
    "shape": (lambda: dg.log_density(world(), jnp.ones(3)), r"shape \(2,\), got \(3,\)"),
    "integers": (lambda: dg.log_density(world(), jnp.ones(2, int)), "must be a float array"),
    "bytes": (lambda: dg.sample(world(), np.ones(2, np.uint8)), "must be a float array, got uint8"),
    # latents
    "latent-key": (lambda: dg.latent(world(), None), "latent needs a key"),
    "rescale-none": (lambda: dg.rescale(world(), x()), "exactly one of them"),
    "rescale-both": (lambda: dg.rescale(world(), x(), 0.5, factor=2.0), "exactly one of them"),
    "rescale-q": (lambda: dg.rescale(world(), x(), 1.5), r"q must lie in \(0, 1\)"),
    "rescale-prior": (
        lambda: dg.rescale(dg.worlds.exact_prior(world()), x(), 0.5),
        "needs an isotropic prior, priors.normal or student",
    ),
    "rescale-other": (
        lambda: dg.rescale(bare(prior=Uniform()), x(), 0.5),
        "needs an isotropic prior, priors.normal or student",
    ),
    # matching, high density, elbo
    "match-scales": (
        lambda: dg.match_log_density(world(), x(), -2.0, scales=(2.0, 0.5)),
        "must rise",
    ),
    "match-array": (lambda: dg.match_log_density(world(), x(), jnp.ones(2)), "one number"),
    "match-tolerance": (
        lambda: dg.match_log_density(world(), x(), -2.0, tolerance=-1.0),
        "tolerance must be positive",
    ),
    "high-steps": (
        lambda: dg.high_density(world(), x(), switch=0.0, steps=8, rtol=1e-3),
        "contradict each other",
    ),
    "elbo-levels": (lambda: dg.elbo(world(), x(), key(), levels=0), "levels must be an integer"),
    "elbo-replicates": (lambda: dg.elbo(world(), x(), key(), replicates=2.5), "replicates must be"),
    # alignment
    "align-score": (lambda: dg.score_alignment(bare(), x()), "pass use_score=False"),
    "align-shape": (
        lambda: dg.score_alignment(world(), x(), direction=jnp.ones(3)),
        "direction must have the flow's shape",
    ),
    "align-trace": (
        lambda: dg.score_alignment(world(), x(), use_score=False, divergence=None),
        "score alignment without the score needs a trace",
    ),
    # bits per dimension
    "bits-transform": (
        lambda: dg.bits_per_dim(world(), jnp.ones((1, 2), int), key()),
        "needs the data transform",
    ),
    "bits-floats": (lambda: bits(np.ones((1, 2))), "takes integer images, got float32"),
    "bits-one": (lambda: bits(np.ones(2, np.uint8)), r"images must be \[n, 2\], got"),
    "bits-shape": (lambda: bits(np.ones((1, 3), np.uint8)), r"images must be \[n, 2\], got"),
    "bits-draws": (lambda: bits(draws=1), "draws must be an integer of at least 2, got 1"),
    "bits-levels": (lambda: bits(np.full((1, 2), 5)), "integers from 0 to 3.*got 5 to 5"),
    "bits-negative": (lambda: bits(np.full((1, 2), -1)), "integers from 0 to 3.*got -1 to -1"),
    "bits-key": (lambda: bits(key=None), "needs key=: dequantisation is random"),
    "bits-jacobian": (
        lambda: bits(transform=lambda image, key: image / 4.0),
        r"must be callable as \(x, key\) and have log_jacobian",
    ),
    # calibration
    "key-number": (lambda: bits(key=0), r"one random key, got 0: pass jax.random.key\(0\)"),
    "key-many": (
        lambda: bits(key=jax.random.split(key(), 3)),
        r"got key<fry> of shape \(3,\): pass .* jax.vmap for many",
    ),
    "bits-flow": (
        lambda: dg.bits_per_dim(jnp.sin, np.ones((1, 2), np.uint8), key()),
        "bits_per_dim takes a flow first, got .*: build one with densityguide.diffusion",
    ),
    "classifier-free-flow": (
        lambda: dg.classifier_free(3, 2.0, negative=0),
        "classifier_free takes a flow first, got int",
    ),
    "sample-flow": (lambda: dg.sample(x(), x()), "sample takes a flow first, got ArrayImpl"),
    "calibrate-score": (lambda: dg.calibrate(bare(), key()), "calibrate needs a score"),
    "calibrate-key": (lambda: dg.calibrate(world(), None), "calibrate needs key="),
    "calibrate-count": (lambda: dg.calibrate(world(), key(), count=4), "at least 8, got 4"),
    "calibrate-finite": (
        lambda: dg.calibrate(build(apply=lambda x, t: x * jnp.nan), key(), count=8, steps=3),
        "needs samples: 8 of 8 plain samples were not finite",
    ),
    "calibrate-rtol": (lambda: dg.calibrate(world(), key(), rtol=0.1), "calibrate has no option"),
    # stochastic verbs
    "sde-path": (lambda: dg.sample_sde(bare(), x(), key()), "needs a Gaussian path: use track_sde"),
    "sde-key": (lambda: dg.sample_sde(world(), x(), None), "sample_sde needs a key"),
    "track-sde-score": (lambda: track(bare(), key()), "track_sde needs a score"),
    "track-sde-key": (lambda: track(world(), None), "track_sde needs a key"),
    "track-sde-shape": (lambda: track(world(), key(), noise_shape=2), "noise_shape must be a tupl"),
    "derive-flow": (lambda: dg.derive_score(x()), "derive_score takes a flow first"),
    "derive-size": (lambda: dg.derive_score(wide()), "up to 256 dimensions, this flow has 300"),
    "derive-space": (
        lambda: dg.derive_score(build(space=dg.spaces.masked(np.asarray([True, False])))),
        "derive_score is about flows in all of R",
    ),
    "derive-twice": (lambda: dg.derive_score(dg.derive_score(bare())), "is its own density's"),
    "derive-steps": (lambda: dg.derive_score(bare(), steps=1), "steps must be an integer of at le"),
    "derive-prior": (
        lambda: dg.derive_score(bare()).replace(prior=dg.priors.normal((2,))),
        "derived from this flow's prior and start: replace those first",
    ),
    "derive-start": (
        lambda: dg.derive_score(world()).replace(interval=(-5.0, 8.0)),
        "derived from this flow's prior and start: replace those first",
    ),
    "derive-sde": (
        lambda: dg.sample_sde(dg.derive_score(world()), x(), key()),
        "sample_sde joins the velocity and the score of one network",
    ),
    "derive-elbo": (
        lambda: dg.elbo(dg.derive_score(world()), x(), key()),
        "elbo joins the velocity and the score of one network",
    ),
    "elbo-path": (lambda: dg.elbo(bare(), x(), key()), "elbo needs a Gaussian path"),
    "elbo-key": (lambda: dg.elbo(world(), x(), None), "elbo needs a key"),
    # high density
    "high-path": (lambda: dg.high_density(bare(), x(), switch=0.5), "needs a Gaussian path"),
    "high-switch": (
        lambda: dg.high_density(world(), x(), switch=9.0),
        r"switch must lie inside the log-SNR range \(-4, 3\), got 9",
    ),
    "high-pair": (
        lambda: dg.high_density(world(), x(), switch=0.0, steps=(1, 2, 3)),
        "steps must be a number or a pair",
    ),
    "mode-path": (lambda: dg.track_mode(bare(), x(), start=0.5), "track_mode needs a Gaussian"),
    "mode-start": (lambda: dg.track_mode(world(), x(), start=3.0), "start must lie inside"),
    # a sample of one's own
    "edit-flow": (lambda: dg.edit(x(), x(), guidance=None), "edit takes a flow first"),
    "edit-shape": (
        lambda: dg.edit(world(), jnp.ones(3), guidance=None),
        r"x must have the flow's shape \(2,\), got \(3,\)",
    ),
    "edit-pixels": (
        lambda: dg.edit(world(), np.ones(2, np.uint8), guidance=None),
        "bring it to the scale of the model first",
    ),
    "edit-depth": (
        lambda: dg.edit(world(), x(), guidance=None, depth=9.0),
        r"depth must lie from -4\.0 \(noise end\) to 3\.0 \(data end\).* got 9\.0",
    ),
    "edit-depth-nan": (
        lambda: dg.edit(world(), x(), guidance=None, depth=float("nan")),
        "depth must be a number, got nan",
    ),
    "edit-depths": (
        lambda: dg.edit(world(), x(), guidance=None, depth=jnp.zeros(3)),
        "depth must be one number",
    ),
    "edit-grid": (
        lambda: dg.edit(world(), x(), guidance=None, depth=0.0, grid=jnp.linspace(-4.0, 3.0, 9)),
        "a grid of knots fits one interval and depth= makes several",
    ),
    "edit-score": (
        lambda: dg.edit(bare(), x(), guidance=dg.budget(1.0)),
        "budget guidance needs a score",
    ),
    "edit-noise": (
        lambda: dg.edit(world(), x(), guidance=None, noise=dg.noise.constant(0.2)),
        "noise needs key=",
    ),
    "edit-option": (
        lambda: dg.edit(world(), x(), guidence=dg.quantile(0.6)),
        "edit has no option 'guidence': did you mean 'guidance'",
    ),
    "interpolate-flow": (lambda: dg.interpolate(x(), x(), x()), "interpolate takes a flow first"),
    "interpolate-shape": (
        lambda: dg.interpolate(world(), x(), jnp.ones(3)),
        r"b must have the flow's shape \(2,\), got \(3,\)",
    ),
    "interpolate-frames": (
        lambda: dg.interpolate(world(), x(), x(), frames=1),
        "frames must be an integer of at least 2, got 1",
    ),
    "interpolate-nan": (
        lambda: dg.interpolate(world(), x(), x(), log_density=float("nan")),
        "log_density must be finite nats, got nan",
    ),
    "interpolate-trace": (
        lambda: dg.interpolate(wide(), jnp.ones(300), jnp.ones(300)),
        "landing needs a trace and D = 300 is above 256",
    ),
    # many samples, and what they take
    "match-nan": (
        lambda: dg.match_log_density(world(), x(), float("inf")),
        "target must be finite nats, got inf",
    ),
    "report-key": (lambda: dg.alignment_report(world(), None), "alignment_report needs a key"),
    "report-count": (
        lambda: dg.alignment_report(world(), key(), count=0),
        "count must be at least 1, got 0",
    ),
    "verify-key": (lambda: dg.verify(world(), None), "verify needs a key"),
    "verify-data": (
        lambda: dg.verify(world(), key(), data=jnp.ones((8, 3))),
        r"data must be \[n >= 8, 2\], got \(8, 3\)",
    ),
    "cost-rtol": (lambda: dg.cost(world(), rtol=1e-3), "takes is known only after it: pass steps="),
    "land-target": (lambda: dg.land(world(), x(), jnp.inf), "target must be finite nats"),
    "land-tolerance": (
        lambda: dg.land(world(), x(), -2.0, tolerance=-1.0),
        "tolerance must be positive nats",
    ),
    "land-along": (lambda: dg.land(world(), x(), -2.0, along="target"), "along must be"),
    "match-pair": (lambda: dg.match_log_density(world(), x(), 0.0, scales=(1.0,)), "a pair"),
    "along-scale": (lambda: dg.along.scale(0.0), "scale needs low > 0"),
    "along-direction": (lambda: dg.along.direction(x(), 1.0, 0.0), "must rise"),
    "along-guided": (lambda: dg.along.guided(3), "guided needs a function"),
    "along-ends": (lambda: dg.along.guided(dg.budget, low=1.0, high=0.0), "guided must rise"),
    "steering-none": (
        lambda: dg.sample(world(), x(), guidance=dg.target(-2.0), steering=None),
        "steering must be",
    ),
    "steering-key": (
        lambda: dg.sample(wide_scored(), jnp.ones(300), guidance=dg.target(-2.0)),
        "steers by an estimated trace",
    ),
    "rate-shape": (
        lambda: dg.sample(world(), x(), guidance=dg.rate(lambda x, t: x)),
        "rate must return one number",
    ),
    "cost-batch": (lambda: dg.cost(world(), batch=0), "batch must be an integer of at least 1"),
}
