"""The error of a short solve, learned from long ones of the same flow.

A few large steps leave an error in log p that is nearly the same for all samples of a model, and
most of what is not follows from what the solve knows anyway: the log p that it found, the length of
the latent, and the two sums by which errors of x move log p (see `densityguide.solve.error`). A
ridge regression through them, on samples of which a long solve says the error, predicts it for
others::

    error(x) = c . (1, standardised features of x) + residual

with the residual's spread from leaving each sample out (in closed form, Golub, Heath and Wahba,
Technometrics 1979) and a sample's leverage ``h`` (Hoaglin and Welsch, The American Statistician
1978) for how far it lies from those of the fit. Where h is larger than for any of them, a sample is
unlike them, and nothing is corrected.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import stdtrit

from densityguide.checks import require
from densityguide.solve import Choices, Solved
from densityguide.solve.adams import Adams

__all__ = ["Correction", "choices_of", "features", "fitted"]

PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of squared coefficients, all features of unit spread
SLACK = 1e-4  # of the largest leverage, so that rounding excludes no sample of the fit
TINY = 1e-6  # of a feature's size: less spread than that is rounding


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["center", "scale", "coefficients", "inverse", "reach", "residual", "width"],
    meta_fields=["steps", "order", "count"],
)
@dataclass(frozen=True)
class Correction:
    """What `densityguide.log_density` adds to the log p of a solve by ``Adams(order)`` in
    ``steps`` steps, as `densityguide.fit_correction` found it; a pytree of arrays.

    ``center``, ``scale`` [4] of the features; ``coefficients`` [5] in nats, the constant first;
    ``inverse`` [5, 5] for the leverage, ``reach`` the largest of the fit; ``residual``, the root
    mean square in nats of what was left of samples that the fit had not seen; ``width``, Student's
    97.5 % quantile times that; ``count`` of the samples.
    """

    steps: int
    order: int
    count: int
    center: Array
    scale: Array
    coefficients: Array
    inverse: Array
    reach: Array
    residual: Array
    width: Array

    def error(self, known: Array) -> tuple[Array, Array, Array]:
        """``(error, half-width, near)`` for features [4]: what the solve's log p is too high by,
        the half-width of its 95 % interval, and whether the sample is like those of the fit."""
        row = jnp.concatenate([jnp.ones(1, known.dtype), (known - self.center) / self.scale])
        leverage = row @ self.inverse @ row
        return (
            row @ self.coefficients,
            self.width * jnp.sqrt(1.0 + leverage),
            leverage <= self.reach,
        )


class Corrected(NamedTuple):
    """Log p, the bar of its solve, and whether the solve still counts as coarse."""

    value: Array
    solver_error: Array
    coarse: Array


def choices_of(correction: Any, choices: Choices, tolerance: Any) -> Choices:
    """The solve that a correction was fitted to; ValueError where another is asked for."""
    require(
        isinstance(correction, Correction),
        f"correction must come from densityguide.fit_correction, got {type(correction).__name__}",
    )
    require(
        tolerance is None and choices == Choices(),
        f"correction= fixes the solve, {correction.steps} steps of Adams({correction.order}): drop "
        "steps=, grid=, solver= and tolerances, or fit another",
    )
    return Choices(steps=correction.steps, solver=Adams(correction.order))


def features(value: Array, latent: Array, solved: Solved) -> Array:
    """[4]: log p as found, the mean square of the latent, and both sums of the solve."""
    assert solved.sums is not None
    return jnp.stack([value, jnp.mean(latent**2), *solved.sums])


def corrected(correction: Correction, known: Array, off: Array, coarse: Array) -> Corrected:
    """Log p without its predicted error; as it was, ``coarse`` if it was, for a sample unlike those
    of the fit."""
    error, width, near = correction.error(known)
    value = known[0]
    return Corrected(
        jnp.where(near, value - error, value),
        jnp.where(near, width, off),
        jnp.where(near, 0, coarse),
    )


def fitted(steps: int, order: int, known: np.ndarray, error: np.ndarray) -> Correction:
    """The correction from features [n, 4] and errors [n] in nats. The penalty is the one that
    leaves least of samples left out."""
    count = len(known)
    center = known.mean(axis=0)
    scale = np.maximum(known.std(axis=0), TINY * (1.0 + np.abs(center)))
    design = np.column_stack([np.ones(count), (known - center) / scale])
    free = np.diag([0.0, *np.ones(known.shape[1])])
    best: tuple[float, np.ndarray, np.ndarray, float] | None = None
    for penalty in PENALTIES:
        inverse = np.linalg.inv(design.T @ design + penalty * free)
        smooth = inverse @ design.T
        hat = np.einsum("ij,ji->i", design, smooth)
        left = (error - design @ (smooth @ error)) / (1.0 - hat)
        residual = float(np.sqrt(np.mean(left**2)))
        if best is None or residual < best[0]:
            best = residual, smooth @ error, inverse, float(hat.max())
    assert best is not None
    residual, coefficients, inverse, reach = best
    width = residual * float(stdtrit(count - design.shape[1], 0.975))
    numbers = (center, scale, coefficients, inverse, (1.0 + SLACK) * reach, residual, width)
    return Correction(steps, order, count, *(jnp.asarray(a, float) for a in numbers))
