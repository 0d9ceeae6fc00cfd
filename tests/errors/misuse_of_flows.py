"""Building flows: what is refused, and what the message says."""

import jax.numpy as jnp
import numpy as np
from makers import LINEAR, Loose, bare, build, world, x

import densityguide as dg

MISUSES = {
    # paths, clocks, grids, predictions
    "betas": (lambda: dg.clocks.ddpm([0.1, 1.2]), r"betas must be .* in \(0, 1\)"),
    "alphas": (
        lambda: dg.clocks.ddpm(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))),
        "a table that falls from 0.9999 looks like alphas_cumprod or alphas",
    ),
    "betas-within": (lambda: dg.clocks.ddpm([0.1, 1.0, 0.1]), r"betas must be .* in \(0, 1\)"),
    "betas-shape": (lambda: dg.grids.ddpm(-3.0, 3.0, 4, betas=0.1), "betas must be"),
    "prediction": (lambda: build(prediction="eps"), "one of noise.*'eps': did you mean 'noise'"),
    "prediction-near": (lambda: build(prediction="scores"), "did you mean 'score'"),
    "prediction-type": (lambda: build(prediction=3), "prediction must be one of noise.*got 3"),
    "v": (lambda: build(prediction="v", path=LINEAR), "needs the variance preserving path"),
    "clock": (lambda: build(clock=3.0), "clock must be a function of log-SNR"),
    # flows
    "apply": (lambda: build(apply=3), "apply must be a function"),
    "range": (lambda: build(log_snr=(5.0, -5.0)), "must rise from noise to data.*swap"),
    "ends": (lambda: build(log_snr=(5.0, 5.0)), "two different ends"),
    "pair": (lambda: build(log_snr=3.0), "must be a pair"),
    "unbatched": (lambda: build(apply=lambda x, t: x[0]), "must return the shape of its input"),
    "broadcast": (
        lambda: build(apply=lambda x, t: x[:, 0], shape=(8, 8, 1), prediction="data"),
        r"the network must return the shape of its input \(8, 8, 1\), got \(8, 1\)",
    ),
    "pair-of-outputs": (
        lambda: build(apply=lambda x, t: (x, x)),
        "got tuple: return the prediction alone.*lambda x, t",
    ),
    "learned-variance": (
        lambda: build(apply=lambda x, t: jnp.append(x, x, -1)),
        r"got \(4,\): twice the channels.*: pass learned_variance=True to take their first half",
    ),
    "learned-variance-first": (
        lambda: build(
            apply=lambda p, x, t: jnp.concatenate([x, x], 1),
            params=1.0,
            shape=(4, 4, 3),
            batched=True,
            channels_first=True,
        ),
        r"got \(4, 4, 6\): twice the channels.*: pass learned_variance=True",
    ),
    "velocity-shape": (lambda: bare(shape=(3,), velocity=lambda x, t: x[:1]), r"the velocity must"),
    "score-shape": (lambda: bare(score=lambda x, t: x[0]), r"the score must return .* got \(\)"),
    "crash": (lambda: build(apply=lambda x, t: x @ jnp.ones(7)), "failed on ONE sample of shape"),
    "crash-params": (lambda: build(apply=lambda x, t: t, params=1), "failed on ONE sample"),
    "velocity": (
        lambda: dg.cnf(None, prior=dg.priors.normal((2,)), interval=(0, 1), shape=(2,)),
        "velocity must be a function",
    ),
    "prior": (lambda: bare(prior=3.0), r"prior must have sample\(key\) and log_prob\(x\)"),
    "interval": (lambda: bare(interval=(1.0, 1.0)), "two different ends"),
    "no-score": (lambda: bare().score(x(), 0.0), "this flow has no score"),
    "no-closed-form": (lambda: bare().log_density(x(), 0.0), "no closed form"),
    "shape": (lambda: build(shape=2), r"shape must be a tuple of positive integers, got 2: e.g."),
    "shape-float": (lambda: bare(shape=(2.5,)), "shape must be a tuple of positive integers"),
    "shape-zero": (lambda: build(shape=(2, 0)), "shape must be a tuple of positive integers"),
    "prior-shape": (lambda: dg.priors.normal(2), "shape must be a tuple of positive integers"),
    # worlds
    "mixture": (lambda: dg.worlds.mixture([1.0], jnp.ones((2, 3)), 1.0), r"weights \[K\]"),
    "gaussian": (lambda: dg.worlds.gaussian(jnp.ones(2), jnp.ones((2, 3))), r"covariance \[D, D\]"),
    "flow-map": (lambda: dg.worlds.flow_map(world(), x(), -1, 1), "one Gaussian only"),
    "laplacian": (lambda: dg.worlds.laplacian(bare(), x(), 0.0), "needs a world"),
    "exact-prior": (lambda: dg.worlds.exact_prior(bare()), "needs a world"),
    "weights": (
        lambda: dg.worlds.mixture([-0.6, 0.4], jnp.ones((2, 2)), 1.0),
        "weights must be positive",
    ),
    "scales": (lambda: dg.worlds.mixture([1.0], jnp.ones((1, 2)), -1.0), "scales must be positive"),
    "scales-shape": (
        lambda: dg.worlds.mixture([1.0], jnp.ones((1, 2)), jnp.ones(3)),
        "or broadcast to it",
    ),
    "asymmetric": (
        lambda: dg.worlds.gaussian(jnp.zeros(2), [[1.0, 0.9], [0.0, 1.0]]),
        "must be symmetric, it differs from its transpose by 0.9",
    ),
    "indefinite": (
        lambda: dg.worlds.gaussian(jnp.zeros(2), [[1.0, 2.0], [2.0, 1.0]]),
        "must be positive definite",
    ),
    "prior-scale": (lambda: dg.priors.normal((2,), -1.0), "scale must be positive"),
    "prior-pytree": (lambda: bare(prior=Loose()), "not registered as one"),
}
