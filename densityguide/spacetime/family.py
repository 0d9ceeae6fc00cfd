"""The exponential family of denoising distributions.

``p(x0 | x_lambda) = p0(x0) exp(eta . T(x0) - psi)`` with ``T = (x0, |x0|^2)`` [ST, Prop. C.2]:

* natural parameters ``eta = (nu y, -nu / 2)``, ``nu = e^lambda``, ``y = x / alpha``;
* expectations ``mu = E T = (m, |m|^2 + tr K)``, ``m = E[x0 | x] = y + (sigma^2 / alpha) s`` and
  ``K = Cov[x0 | x] = Cov(eps | x) / nu``, where ``Cov(eps | x) = dm/dy`` [ST, Eq. 16];
* ``psi = log p(y) + nu |y|^2 / 2 + (D / 2) log(2 pi / nu)``, log p(y) the density of y: the
  log-density that this library computes [ST, Eq. 52].

[ST] is Karczewski et al., "Spacetime of diffusion models" (ICLR 2026, arXiv 2505.17517).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import present
from densityguide.density.trace import Trace, apply
from densityguide.flow.flow import Flow
from densityguide.flow.local import linearise
from densityguide.spacetime.point import Point

__all__ = ["Moments", "denoised", "matmuls", "moments", "natural"]


class Moments(NamedTuple):
    """A denoising distribution: ``mean`` m [*shape], and ``noise`` = tr Cov(eps | x) = nu tr K
    as replicate estimates [K] (or the exact value [1]); several have a leading axis each."""

    mean: Array
    noise: Array


def matmuls() -> Any:
    """Products in full float32: chords are differences of nearly equal numbers. A user's own
    ``jax_default_matmul_precision`` wins."""
    given = jax.config.jax_default_matmul_precision or "float32"  # type: ignore[attr-defined]
    return jax.default_matmul_precision(given)


def natural(at: Point) -> tuple[Array, Array]:
    """``eta = (nu y, -nu / 2)`` of one point: [*shape] and ()."""
    precision = jnp.exp(at.log_snr)
    return precision * at.y, -0.5 * precision


def denoised(flow: Flow, at: Point) -> Array:
    """Tweedie's ``m = E[x0 | x] = y + (sigma^2 / alpha) s(alpha y)`` of one point."""
    alpha = present(flow.path).alpha(at.log_snr).astype(at.y.dtype)
    score = present(flow.field(flow.params, alpha * at.y, at.log_snr)[1])
    return at.y + jnp.exp(-at.log_snr) * alpha * score


def moments(flow: Flow, at: Point, trace: Trace, probes: Array | None) -> Moments:
    """The moments of one point: one evaluation, and a tangent for every probe."""
    mean, linear = linearise(lambda y: denoised(flow, Point(y, at.log_snr)), at.y)
    return Moments(mean, apply(linear, trace, at.y, probes))
