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
unlike them, and nothing is corrected. That test sees four numbers of a sample and no more.
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
from densityguide.flow.flow import Flow
from densityguide.solve import Choices, Solved
from densityguide.solve.adams import Adams

__all__ = ["Corrected", "Correction", "choices_of", "corrected", "features", "fitted"]

PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of squared coefficients, all features of unit spread
TINY = 1e-4  # of a feature's size: less spread than that may be rounding, and says nothing
SLACK = 1e-3  # of the largest leverage, so that rounding excludes no sample of the fit

FIXED = ["shape", "steps", "order", "count"]
TRACED = ["interval", "center", "scale", "coefficients", "inverse", "reach"]
TRACED += ["residual", "width", "floor"]


@partial(jax.tree_util.register_dataclass, data_fields=TRACED, meta_fields=FIXED)
@dataclass(frozen=True)
class Correction:
    """What `densityguide.log_density` takes off the log p of a solve by ``Adams(order)`` in
    ``steps`` steps, as `densityguide.fit_correction` found it; a pytree of arrays. It belongs to
    the weights, the condition and the ``interval`` [2] of the flow that it was fitted to.

    ``center``, ``scale`` [4] of the features; ``coefficients`` [5] in nats, the constant first;
    ``inverse`` [5, 5] for the leverage, ``reach`` the largest of the fit; ``residual``, the root
    mean square in nats of what was left of samples that the fit had not seen; ``width``, Student's
    97.5 % quantile times that; ``floor``, what the long solves leave open; ``count`` of samples.
    """

    shape: tuple[int, ...]
    steps: int
    order: int
    count: int
    interval: Array
    center: Array
    scale: Array
    coefficients: Array
    inverse: Array
    reach: Array
    residual: Array
    width: Array
    floor: Array

    def error(self, features: Array) -> tuple[Array, Array, Array]:
        """``(error, half-width, near)`` for features [4]: what the solve's log p is too high by,
        the half-width of its 95 % interval, and whether the sample is like those of the fit."""
        row = jnp.concatenate([jnp.ones(1, features.dtype), (features - self.center) / self.scale])
        # Sums, not products of matrices, which some devices take in fewer digits.
        leverage = jnp.sum(row[:, None] * self.inverse * row)
        width = jnp.hypot(self.width * jnp.sqrt(1.0 + leverage), self.floor)
        return jnp.sum(row * self.coefficients), width, leverage <= self.reach


class Corrected(NamedTuple):
    """Log p, the bar of its solve, and the bits of its status that tell a coarse solve."""

    value: Array
    solver_error: Array
    coarse: Array


def choices_of(correction: Any, flow: Flow, choices: Choices, tolerance: Any) -> Choices:
    """The solve that a correction was fitted to; ValueError for one of another shape, or where
    another solve is asked for."""
    require(
        isinstance(correction, Correction),
        f"correction must come from densityguide.fit_correction, got {type(correction).__name__}",
    )
    require(
        correction.shape == flow.shape,
        f"correction was fitted to samples of shape {correction.shape}, the flow's are "
        f"{flow.shape}: fit one to this flow",
    )
    asked = [name for name, value in choices._asdict().items() if value is not None]
    others = [name for name in asked if name != "adjoint"]  # a fixed grid supports both
    others += [] if tolerance is None else ["tolerance"]
    require(
        not others,
        f"correction= fixes the solve, {correction.steps} steps of Adams({correction.order}): drop "
        f"{', '.join(f'{name}=' for name in others)}, or fit another",
    )
    return Choices(steps=correction.steps, solver=Adams(correction.order))


def features(value: Array, latent: Array, solved: Solved) -> Array:
    """[4]: log p as found, the mean square of the latent, and both sums of the solve."""
    assert solved.sums is not None
    return jnp.stack([value, jnp.mean(latent**2), *solved.sums])


def corrected(
    correction: Correction, flow: Flow, found: Array, off: Array, coarse: Array
) -> Corrected:
    """Log p less its predicted error, with the bar of what is left. A sample unlike those of the
    fit, or of a flow cut elsewhere, keeps its value, bar and status. Derivatives are those of the
    value that was found: what is taken off counts as a constant."""
    error, width, near = jax.lax.stop_gradient(correction.error(found))
    ends = _ends(flow)
    near = near & jnp.all(jnp.abs(ends - correction.interval) <= 1e-4 * (1.0 + jnp.abs(ends)))
    value = found[0]
    return Corrected(
        jnp.where(near, value - error, value),
        jnp.where(near, width, off),
        jnp.where(near, 0, coarse),
    )


def fitted(
    flow: Flow, steps: int, order: int, found: np.ndarray, error: np.ndarray, floor: float = 0.0
) -> Correction:
    """The correction from features [n, 4] and errors [n] in nats. The penalty is the one that
    leaves least of samples left out."""
    count = len(found)
    center = found.mean(axis=0)
    scale = np.maximum(found.std(axis=0), TINY * (1.0 + np.abs(center)))
    design = np.column_stack([np.ones(count), (found - center) / scale])
    squares, free = design.T @ design, np.diag([0.0, *np.ones(found.shape[1])])
    best: tuple[float, np.ndarray] | None = None
    for penalty in PENALTIES:
        smooth = np.linalg.inv(squares + penalty * free) @ design.T
        hat = np.einsum("ij,ji->i", design, smooth)
        left = (error - design @ (smooth @ error)) / (1.0 - hat)
        residual = float(np.sqrt(np.mean(left**2)))
        if best is None or residual < best[0]:
            best = residual, smooth @ error
    assert best is not None
    residual, coefficients = best
    # A penalty would make samples look nearer than they are; a little keeps equal ones invertible.
    inverse = np.linalg.inv(squares + 1e-3 * free)
    reach = (1.0 + SLACK) * float(np.einsum("ij,jk,ik->i", design, inverse, design).max())
    width = residual * float(stdtrit(count - design.shape[1], 0.975))
    numbers = (center, scale, coefficients, inverse, reach, residual, width, floor)
    rest = (jnp.asarray(a, float) for a in numbers)
    return Correction(flow.shape, steps, order, count, _ends(flow), *rest)


def _ends(flow: Flow) -> Array:
    return jnp.stack([jnp.asarray(end, float) for end in flow.interval])
