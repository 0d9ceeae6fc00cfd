"""Points, curves and geodesics."""

import jax
import jax.numpy as jnp
import numpy as np
from makers import bare, build, key, world, x

import densityguide as dg
from densityguide import spacetime
from densityguide.spacetime import Point


def at(y=None, level=1.0):
    return spacetime.point(world(), x() if y is None else jnp.asarray(y, float), level)


def short(*ends, flow=world, **options):
    return dg.geodesic(flow(), *(ends or (at(), at([0.0, 1.0]))), **options)


def curve(y, levels, **options):
    return spacetime.curve_energy(world(), Point(jnp.asarray(y), jnp.asarray(levels)), **options)


def mixed():
    weights = {"params": jnp.zeros((2,)), "condition": jnp.asarray(1.0)}
    flow = build(apply=lambda params, x, t, c: params * x + c, **weights)
    return dg.classifier_free(flow, 2.0, negative=jnp.asarray(0.0))


def large():
    return build(apply=lambda x, t: x, shape=(300,))


def far(flow):
    return spacetime.point(flow, jnp.zeros(300), 1.0), spacetime.point(flow, jnp.ones(300), 1.0)


MISUSES = {
    "path": (lambda: spacetime.point(bare(), x(), 1.0), "needs a Gaussian path, whose points"),
    "mixture": (
        lambda: spacetime.point(mixed(), x(), 1.0),
        "no posterior has a classifier-free mixture: use the flow before classifier_free",
    ),
    "flow": (lambda: spacetime.point(3, x(), 1.0), "spacetime.point takes a flow first"),
    "range": (lambda: at(level=5.0), "range -4 to 3, got 5 to 5"),
    "level": (lambda: at(level=jnp.ones(2)), "log_snr must be one number"),
    "nan": (lambda: at([jnp.nan, 1.0]), "x must be finite, got nan or inf"),
    "shape": (lambda: at([1.0, 2.0, 3.0]), r"shape \(2,\), got \(3,\)"),
    "array": (lambda: short(x(), at()), "geodesic takes points, got ArrayImpl: make one with"),
    "batch": (
        lambda: short(Point(jnp.ones((4, 2)), jnp.ones(4)), at()),
        r"takes y of shape \(2,\) and one log_snr for each, .*: use jax.vmap for many",
    ),
    "same": (lambda: short(at(), at()), "two different points, got one twice: their distance is 0"),
    "segments": (lambda: short(segments=0), "segments must be an integer of at least 1, got 0"),
    "iterations": (lambda: short(iterations=-1), "iterations must be an integer of at least 0"),
    "span": (lambda: short(span="line"), "span must be 'plane' .* or 'free', got 'line'"),
    "trace": (lambda: short(divergence=None), "geodesic needs a trace: pass divergence="),
    "large": (
        lambda: short(*far(large()), flow=large),
        "geodesic needs a trace and D = 300 is above 256: pass divergence=",
    ),
    "key": (lambda: short(divergence=dg.hutchinson(2)), "an estimated trace needs key="),
    "steer": (lambda: short(steer=dg.hutchinson(2)), "an estimated trace needs key="),
    "closure": (lambda: short(closure_steps=0), "closure_steps must be an integer of at least 1"),
    "constraint": (lambda: short(constraint=3.0), "constraint must come from densityguide.spacet"),
    "constraint-at": (
        lambda: short(constraint=spacetime.near(Point(jnp.ones(3), jnp.ones(())), 1.0)),
        r"a constraint takes y of shape \(2,\)",
    ),
    "weight": (lambda: spacetime.hold(-1.0), "weight must be positive, got -1.0"),
    "weight-text": (lambda: spacetime.hold("x"), "weight must be a real number, got .x."),
    "distance-array": (
        lambda: spacetime.gaussian_distance(x(), at(), 0.0, 1.0),
        "gaussian_distance takes points, got",
    ),
    "distance-variance": (
        lambda: spacetime.gaussian_distance(at(), at(), 0.0, -1.5),
        "variance must be positive, got -1.5",
    ),
    "schedule": (
        lambda: spacetime.schedule(1.0),
        r"nats must be \[segments \+ 1\], got",
    ),
    "schedule-length": (
        lambda: short(segments=4, iterations=1, constraint=spacetime.schedule(np.zeros(3))),
        r"schedule takes one value for each of 5 points, got shape \(3,\)",
    ),
    "avoid": (lambda: spacetime.avoid(at(), jnp.ones(2)), "nats must be one number"),
    "curve-points": (lambda: curve(np.ones((1, 2)), np.ones(1)), r"takes y of shape \[n \+ 1, 2\]"),
    "curve-levels": (lambda: curve(np.ones((3, 2)), np.ones(2)), "and one log_snr for each"),
    "curve-range": (
        lambda: curve(np.ones((3, 2)), np.full(3, -9.0)),
        "range -4 to 3, got -9",
    ),
    "curve-integers": (lambda: curve(np.ones((3, 2), int), np.ones(3)), "y must be a float array"),
    "divergence": (
        lambda: spacetime.divergence(world(), at(), at([0.0, 1.0]), log_density_steps=0),
        "log_density_steps must be an integer of at least 1",
    ),
    "information": (
        lambda: spacetime.information(build(), spacetime.point(build(), x(), 1.0)),
        "needs log p, which this flow has no closed form of: pass log_density_steps=64",
    ),
    "metric": (
        lambda: spacetime.metric(large(), far(large())[0]),
        "takes D traces and is for D up to 256, got D = 300",
    ),
    "frames": (
        lambda: spacetime.frames(world(), Point(jnp.ones((2, 2)), jnp.ones(2)), steps=0),
        "steps must be an integer of at least 1",
    ),
    "frames-key": (
        lambda: spacetime.frames(
            world(), Point(jnp.ones((2, 2)), jnp.ones(2)), divergence=dg.hutchinson(2)
        ),
        "an estimated trace needs key=",
    ),
    "many-keys": (
        lambda: short(divergence=dg.hutchinson(2), key=jax.random.split(key(), 2)),
        "key must be one random key",
    ),
}
