"""Corrections: what they are fitted to, and which solve they belong to."""

import jax
import jax.numpy as jnp
import numpy as np
from makers import key, wide, world, x

import densityguide as dg
from densityguide.density.correction import fitted

FEW = {"steps": 2, "reference": 8}


def made():
    rng = np.random.default_rng(0)
    return fitted(world(), 8, 3, rng.normal(size=(24, 4)), rng.normal(size=24))


def known(flow=world, at=x, **options):
    return dg.log_density(flow(), at(), **{"correction": made()} | options)


def fit(**options):
    return dg.fit_correction(world(), key(), **options)


def fit_inside(traced):
    return jax.jit(lambda k: dg.fit_correction(world(), k if traced else key(), **FEW).width)(key())


def sampled(**options):
    return dg.sample(world(), x(), correction=made(), **options)


MEASURED = "correction= is of measured log p: pass divergence=, no tolerance="
INSIDE = "called outside jit and vmap: pass its result in"
MISUSES = {
    "type": (lambda: known(correction=0.3), "come from densityguide.fit_correction, got float"),
    "shape": (
        lambda: known(wide, lambda: jnp.ones(300), divergence=dg.exact()),
        r"fitted to samples of shape .2,., the flow's are .300,.: fit one to this flow",
    ),
    "steps": (lambda: known(steps=8), "fixes the solve, 8 steps of Adams.3.: drop steps=, or fit"),
    "several": (lambda: known(solver=dg.Adams(3), tolerance=0.1), "drop solver=, tolerance=, or"),
    "grid": (lambda: known(grid=np.linspace(-4.0, 3.0, 9)), "drop grid=, or fit another"),
    "sample-measure": (lambda: sampled(measure=False), MEASURED),
    "sample-trace": (lambda: sampled(divergence=None), MEASURED),
    "sample-tolerance": (lambda: sampled(tolerance=0.1), MEASURED),
    "count": (lambda: fit(count=8), "count must be an integer of at least 24, got 8"),
    "count-x": (lambda: fit(count=30, x=jnp.zeros((30, 2))), "says what to learn from: drop count"),
    "order": (lambda: fit(order=9), "order must be 1 to 6, got 9"),
    "least-steps": (lambda: fit(steps=1), "steps must be an integer of at least 2"),
    "reference": (lambda: fit(reference=31), "at least four times steps, got 31 and 8"),
    "few": (lambda: fit(x=jnp.zeros((3, 2))), r"x must be .n >= 24, 2., got .3, 2."),
    "finite": (
        lambda: fit(x=jnp.full((24, 2), jnp.nan), **FEW),
        "24 of 24 samples were not finite",
    ),
    "traced": (lambda: fit_inside(True), INSIDE),
    "inside": (lambda: fit_inside(False), INSIDE),
}
