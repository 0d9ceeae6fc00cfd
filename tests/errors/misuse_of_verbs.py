"""Latents, matching, alignment, likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
from makers import Uniform, Unit, bare, key, world, x

import densityguide as dg


def bits(images=np.ones((1, 2), np.uint8), key=jax.random.key(0), transform=Unit(), **options):  # noqa: B008
    return dg.bits_per_dim(world().replace(transform=transform), images, key, **options)


def track(flow, key, **options):
    still = {"drift": lambda x, t: x, "diffusion": lambda x, t, w: w}
    return dg.track_sde(flow, x(), key, **still, **options)


MISUSES = {
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
        "needs the isotropic normal prior",
    ),
    "rescale-other": (
        lambda: dg.rescale(bare(prior=Uniform()), x(), 0.5),
        "needs the isotropic normal prior",
    ),
    # matching, high density, elbo
    "match-scales": (
        lambda: dg.match_log_density(world(), x(), -2.0, scales=(2.0, 0.5)),
        "0 < low < high",
    ),
    "match-array": (lambda: dg.match_log_density(world(), x(), jnp.ones(2)), "one number"),
    "match-tolerance": (
        lambda: dg.match_log_density(world(), x(), -2.0, tolerance=-1.0),
        "tolerance must be positive",
    ),
    "high-polish": (
        lambda: dg.high_density(world(), x(), switch=0.0, polish=1),
        "has no polish=",
    ),
    "high-steps": (
        lambda: dg.high_density(world(), x(), switch=0.0, steps=8, rtol=1e-3),
        "contradict each other",
    ),
    "elbo-levels": (lambda: dg.elbo(world(), x(), key(), levels=0), "levels must be an integer"),
    "elbo-replicates": (lambda: dg.elbo(world(), x(), key(), replicates=2.5), "replicates must be"),
    "polish-score": (lambda: dg.sample(bare(), x(), polish=1), "this flow has none"),
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
    "calibrate-rtol": (lambda: dg.calibrate(world(), key(), rtol=0.1), "uses a fixed grid"),
    # stochastic verbs
    "sde-path": (lambda: dg.sample_sde(bare(), x(), key()), "needs a Gaussian path: use track_sde"),
    "sde-key": (lambda: dg.sample_sde(world(), x(), None), "sample_sde needs a key"),
    "track-sde-score": (lambda: track(bare(), key()), "track_sde needs a score"),
    "track-sde-key": (lambda: track(world(), None), "track_sde needs a key"),
    "track-sde-shape": (lambda: track(world(), key(), noise_shape=2), "noise_shape must be a tupl"),
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
    # many samples, and what they take
    "match-nan": (
        lambda: dg.match_log_density(world(), x(), float("inf")),
        "target must be finite nats, got inf",
    ),
    "polish-trace": (
        lambda: dg.sample(world(), x(), polish=1, divergence=None),
        "polish needs a trace",
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
    "cost-rtol": (lambda: dg.cost(world(), rtol=1e-3), "known only after it: pass steps="),
    "cost-batch": (lambda: dg.cost(world(), batch=0), "batch must be an integer of at least 1"),
}
