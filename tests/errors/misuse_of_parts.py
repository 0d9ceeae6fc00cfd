"""Parts of a flow: what they must return, what replaces them, and options that do not exist."""

import jax
import jax.numpy as jnp
import numpy as np
from makers import VP, bare, build, key, wide, world, x

import densityguide as dg
from densityguide.data import Dequantise


def pictures():
    return bare(shape=(4, 4, 3), prior=dg.priors.normal((4, 4, 3)))


def told(condition=0, **more):
    return build(apply=lambda x, t, c: x, condition=condition, **more)


@jax.tree_util.register_static
class Careless:
    """A prior with one thing wrong at a time."""

    def __init__(self, sample=None, log_prob=None):
        self.sample = sample or (lambda key: jnp.zeros(2))
        self.log_prob = log_prob or (lambda x: jnp.sum(x))


class Matrix:
    """A transform that returns one Jacobian a dimension."""

    def __call__(self, image, key):
        return image / 255.0

    def log_jacobian(self, size):
        return jnp.ones(size)


def fine(t):
    return 0.5 * t


def prior(**parts):
    return bare(prior=Careless(**parts))


MISUSES = {
    # options
    "option": (lambda: build(sigma_data=0.5), "diffusion has no option 'sigma_data': choose one"),
    "near": (lambda: build(log_nsr=(-3.0, 3.0)), "no option 'log_nsr': did you mean 'log_snr'"),
    "near-world": (
        lambda: dg.worlds.mixture([1.0], [[0.0]], 1.0, logsnr=(-3, 3)),
        "mixture has no option 'logsnr': did you mean 'log_snr'",
    ),
    # paths
    "path-word": (
        lambda: build(path="vp"),
        r"got 'vp': did you mean densityguide.paths.variance_preserving\(\)",
    ),
    "path-uncalled": (
        lambda: build(path=dg.paths.linear),
        r"got the function linear: call one, e.g. path=densityguide.paths.linear\(\)",
    ),
    "path-nothing": (lambda: build(path=3), r"got 3: pass densityguide.paths.variance_pres"),
    "path-of-world": (
        lambda: dg.worlds.gaussian([0.0], [[1.0]], path="edm"),
        r"did you mean densityguide.paths.variance_exploding\(\)",
    ),
    "path-in-time": (
        lambda: dg.paths.custom(lambda t: jnp.log(t), lambda t: jnp.log1p(-t)),
        "path custom must have log_snr = 2 .log_alpha - log_sigma.*not of a time",
    ),
    "path-broken": (lambda: dg.paths.custom(fine, 3.0), "path custom failed at an array of log-"),
    "sigma-min": (lambda: dg.paths.conditional_ot(1.0), r"a number in \[0, 1\), got 1.0"),
    "path-end": (
        lambda: build(path=dg.paths.conditional_ot(0.1)),
        "log_snr must end at or below 4.605 on the path conditional_ot, got 10",
    ),
    # parts that belong together
    "replace-path": (lambda: world().replace(path=VP), "no option 'path': the parts.*flow anew"),
    "replace-field": (lambda: world().replace(field=fine), "no option 'field': the parts.*anew"),
    "replace-typo": (lambda: world().replace(parms=1), "did you mean 'params'"),
    "replace-log-snr": (
        lambda: world().replace(log_snr=(-3.0, 3.0)),
        "the range of log-SNR is called interval=",
    ),
    "replace-start": (
        lambda: bare().replace(interval=(0.5, 1.0)),
        r"prior was given, not derived.*pass prior= too, or .*flow.between\(start, stop\)",
    ),
    "replace-ends": (lambda: world().replace(interval=(3.0, -3.0)), "interval must rise.*swap"),
    "replace-shape": (
        lambda: build(params=jnp.ones(2), apply=lambda w, x, t: w * x).replace(shape=(3,)),
        "the flow's network failed on ONE sample of shape",
    ),
    "replace-shape-prior": (
        lambda: bare().replace(shape=(3,)),
        r"prior.sample must return one sample of the flow's shape \(3,\), got shape \(2,\)",
    ),
    "replace-shape-world": (
        lambda: world().replace(shape=(8,)),
        r"the shape of a world is that of its means, \(2,\): build the world anew",
    ),
    "replace-params": (
        lambda: build(params={"w": 1.0}, apply=lambda p, x, t: p["w"] * x).replace(params={}),
        "the flow's network failed on ONE sample",
    ),
    "replace-prior": (lambda: world().replace(prior=3.0), r"prior must have sample\(key\)"),
    "replace-calibration": (
        lambda: world().replace(calibration=3.0),
        "calibration must be a Calibration or None, got float",
    ),
    "between": (lambda: world().between(1.0, 1.0), "part of the flow must have two different ends"),
    # what a prior returns
    "prior-per-dimension": (
        lambda: prior(log_prob=lambda x: -0.5 * x**2),
        r"prior.log_prob must return one number, got shape \(2,\).*: sum over the dimensions",
    ),
    "prior-no-number": (lambda: prior(log_prob=lambda x: None), "one number, got NoneType: sum"),
    "prior-sample": (
        lambda: prior(sample=lambda key: jnp.zeros(3)),
        r"prior.sample must return one sample of the flow's shape \(2,\), got shape \(3,\)",
    ),
    "prior-integers": (
        lambda: prior(sample=lambda key: jnp.zeros(2, int)),
        r"prior.sample must return a float array of shape \(2,\), got shape \(2,\) of int",
    ),
    "prior-crash": (
        lambda: prior(log_prob=lambda x: x @ jnp.ones(7)),
        r"prior.log_prob\(x\) failed on one sample",
    ),
    # what a clock and a transform return
    "clock-crash": (lambda: build(clock=lambda t: t[0]), "clock failed on a scalar log-SNR"),
    "clock-shape": (lambda: build(clock=lambda t: t[None]), r"one float.* got shape \(1,\)"),
    "clock-integer": (lambda: build(clock=lambda t: t.astype(int)), "one float, .* of int"),
    "clock-nothing": (lambda: build(clock=lambda t: None), "one float, .*, got NoneType"),
    "transform": (
        lambda: build(transform=lambda image, key: image),
        r"the flow's transform must be callable as \(x, key\) and have log_jacobian",
    ),
    "transform-class": (lambda: build(transform=Dequantise), "must be callable as .x, key."),
    "transform-jacobian": (
        lambda: build(transform=Matrix()),
        r"transform.log_jacobian\(D\) must return one number of nats, got shape \(2,\)",
    ),
    # classes
    "class": (lambda: told(condition=7, classes=3), "condition must be a class from 0 to 2, got 7"),
    "class-given": (
        lambda: told(classes=range(-1, 3)).given(3),
        "new condition must be a class from -1 to 2, got 3",
    ),
    "class-below": (lambda: told(classes=3).given(-1), "must be a class from 0 to 2, got -1"),
    "class-negative": (
        lambda: dg.classifier_free(told(classes=3), 2.0, negative=3),
        "negative must be a class from 0 to 2, got 3",
    ),
    "classes": (lambda: told(classes=0), "classes must be an integer of at least 1, got 0"),
    "classes-step": (lambda: told(classes=range(0, 9, 2)), "classes must be a number or a range"),
    "classes-alone": (lambda: build(classes=3), "classes= is about a class label: pass condition="),
    # ranges that are times
    "range-time": (lambda: build(log_snr=(0.0, 1.0)), r"\(0, 1\) looks like a time: .*2 log"),
    "range-steps": (lambda: build(log_snr=(0, 1000)), r"\(0, 1000\) looks like a time"),
    "range-world": (
        lambda: dg.worlds.mixture([1.0], [[0.0]], 1.0, log_snr=(1e-3, 0.999)),
        r"looks like a time",
    ),
    "range-pair": (lambda: build(log_snr=(jnp.zeros(2), 3.0)), "must be one number"),
    # one sample of the flow's shape
    "latent-typed-key": (
        lambda: dg.sample(world(), key()),
        r"latent must be one sample of shape \(2,\), got a random key: .*latent\(flow, key\)",
    ),
    "latent-raw-key": (lambda: dg.sample(world(), jax.random.PRNGKey(0)), "got a random key"),
    "channels": (
        lambda: dg.log_density(pictures(), jnp.ones((3, 4, 4))),
        r"shape \(4, 4, 3\), got \(3, 4, 4\): channels come last, see jnp.moveaxis",
    ),
    "picture": (
        lambda: dg.sample(pictures(), np.ones((4, 4, 3), np.uint8)),
        r"got uint8: .* flow.transform\(x, key\) or densityguide.data.Dequantise\(256\)",
    ),
    "flat": (lambda: dg.sample(pictures(), jnp.ones(48)), r"reshape it to \(4, 4, 3\)"),
    "less": (lambda: dg.sample(wide(), x(), divergence=None), "pass one sample"),
    # levels
    "levels": (lambda: Dequantise(1), "levels must be an integer of at least 2, got 1"),
    "levels-many": (
        lambda: Dequantise(2**17),
        "levels must be at most 65536 .16 bits., got 131072",
    ),
    "labels-alone": (lambda: dg.verify(told(classes=3), key(), labels=[0] * 8), "belong to data"),
    "labels-classes": (lambda: verified(build(), [0] * 8), "knows its classes"),
    "labels-shape": (lambda: verified(told(classes=3), [0, 1]), "one whole number for each of"),
    "labels-text": (lambda: verified(told(classes=3), ["a"] * 8), "one whole number for each of"),
    "verify-count": (lambda: dg.verify(build(), key(), count=7), "count must be .* at least 8"),
    "verify-steps": (lambda: dg.verify(build(), key(), steps=0), "steps must be .* at least 1"),
    "verify-data": (
        lambda: dg.verify(build(), key(), data=jnp.full((8, *build().shape), jnp.nan)),
        "data must be finite",
    ),
    "labels-range": (lambda: verified(told(classes=3), [3] * 8), "classes from 0 to 2, got 3 to 3"),
}


def verified(flow, labels):
    return dg.verify(flow, key(), data=jnp.ones((8, *flow.shape)), labels=labels)
