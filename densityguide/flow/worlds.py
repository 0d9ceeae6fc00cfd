"""Worlds: flows whose every quantity has a closed form.

For ``p_0 = sum_k w_k N(mean_k, C_k)`` the noised density is again a mixture, with means
``alpha mean_k`` and covariances ``alpha^2 C_k + sigma^2 I``. So score, Laplacian, divergence and
log-density are exact at every noise level: calibrate and debug on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import pi
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, number, present, require, verb
from densityguide.flow import paths
from densityguide.flow.build import from_path
from densityguide.flow.flow import Flow
from densityguide.flow.intervals import check_range, log_snr_of
from densityguide.flow.paths import Path

__all__ = ["Gaussian", "Mixture", "divergence", "exact_prior", "flow_map", "gaussian"]
__all__ += ["laplacian", "mixture"]


class Mixture(NamedTuple):
    """Diagonal Gaussian mixture: ``weights`` [K], ``means`` [K, D], ``variances`` [K, D]."""

    weights: Array
    means: Array
    variances: Array


class Gaussian(NamedTuple):
    """One Gaussian in its eigenbasis: ``mean`` [D], ``basis`` [D, D] (columns), ``variances``
    [D]."""

    mean: Array
    basis: Array
    variances: Array


def _components(world: Any, x: Array, t: Array, path: Path) -> tuple[Array, Array, Array]:
    """Rotated offset [K, D], variances [K, D] and log weights [K] at log-SNR ``t``."""
    alpha, sigma = path.alpha(t), path.sigma(t)
    if isinstance(world, Gaussian):
        offset = ((x - alpha * world.mean) @ world.basis)[None]
        variances, weights = world.variances[None], jnp.zeros((1,), x.dtype)
    else:
        offset = x - alpha * world.means
        variances, weights = world.variances, jnp.log(world.weights / jnp.sum(world.weights))
    return offset, alpha**2 * variances + sigma**2, weights


def _log_parts(world: Any, x: Array, t: Array, path: Path) -> tuple[Array, Array, Array]:
    offset, variances, weights = _components(world, x, t, path)
    quadratic = jnp.sum(offset**2 / variances + jnp.log(2.0 * pi * variances), axis=1)
    return weights - 0.5 * quadratic, offset, variances


@dataclass(frozen=True)
class _Density:
    path: Path

    def __call__(self, world: Any, x: Array, t: Array) -> Array:
        return jax.nn.logsumexp(_log_parts(world, x, t, self.path)[0])


@dataclass(frozen=True)
class _Field:
    path: Path

    def __call__(self, world: Any, x: Array, t: Array) -> tuple[Array, Array]:
        parts, offset, variances = _log_parts(world, x, t, self.path)
        score = -jax.nn.softmax(parts) @ (offset / variances)
        if isinstance(world, Gaussian):
            score = world.basis @ score
        return self.path.drift(t) * x + 0.5 * self.path.sigma(t) ** 2 * score, score


def _world(world: Any, size: int, path: Path, log_snr: tuple[ArrayLike, ArrayLike]) -> Flow:
    path = paths.check(path)
    ends = log_snr_of(log_snr, "log_snr", path)
    check_range(ends, "log_snr")
    flow = Flow(world, ends, None, _Field(path), (size,), path, density=_Density(path))
    return from_path(flow)


@verb
def mixture(
    weights: ArrayLike | Sequence[Any],
    means: ArrayLike | Sequence[Any],
    scales: ArrayLike | Sequence[Any],
    *,
    path: Path | None = None,
    log_snr: tuple[ArrayLike, ArrayLike] = (-10.0, 8.0),
) -> Flow:
    """Diagonal Gaussian mixture with ``weights`` [K], ``means`` [K, D], ``scales`` (standard
    deviations) [K, D] or broadcastable; default path: variance preserving. ValueError for shapes
    that do not fit, or weights and scales that are not positive."""
    weights, means = number(weights, "weights"), number(means, "means")
    require(
        weights.ndim == 1 and means.ndim == 2 and means.shape[0] == weights.shape[0],
        f"a mixture needs weights [K] and means [K, D], got {weights.shape} and {means.shape}",
    )
    given = number(scales, "scales")
    try:
        scales = jnp.broadcast_to(given, means.shape)
    except ValueError:
        raise ValueError(
            f"scales must be [K, D] = {means.shape} or broadcast to it, got {given.shape}"
        ) from None
    for name, values in (("weights", weights), ("scales", scales)):
        known = concrete(values)
        require(known is None or bool((known > 0).all()), f"{name} must be positive, got {known}")
    world = Mixture(weights, means, scales**2)
    return _world(
        world, means.shape[1], paths.variance_preserving() if path is None else path, log_snr
    )


@verb
def gaussian(
    mean: ArrayLike | Sequence[Any],
    covariance: ArrayLike | Sequence[Any],
    *,
    path: Path | None = None,
    log_snr: tuple[ArrayLike, ArrayLike] = (-10.0, 8.0),
) -> Flow:
    """One Gaussian with ``mean`` [D] and full ``covariance`` [D, D]; ValueError for shapes that do
    not fit, or a covariance that is not symmetric and positive definite."""
    mean, covariance = number(mean, "mean"), number(covariance, "covariance")
    require(
        mean.ndim == 1 and covariance.shape == mean.shape * 2,
        f"a Gaussian needs mean [D] and covariance [D, D], got {mean.shape}, {covariance.shape}",
    )
    variances, basis = jnp.linalg.eigh(covariance)
    known, positive = concrete(covariance), concrete(variances)
    if known is not None:
        # A product of matrices is symmetric up to the rounding of its largest entries.
        gap = np.abs(known - known.T).max()
        require(
            bool(gap <= 1e-5 * np.abs(known).max()),
            f"a covariance must be symmetric, it differs from its transpose by {gap:.2g}",
        )
    require(
        positive is None or bool((positive > 0).all()),
        f"a covariance must be positive definite, its eigenvalues are {positive}",
    )
    world = Gaussian(mean, basis, variances)
    return _world(
        world, mean.shape[0], paths.variance_preserving() if path is None else path, log_snr
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Noised:
    """The world's own marginal at one time, as a prior."""

    world: Any
    time: Array
    path: Path = field(metadata={"static": True})

    def sample(self, key: Array) -> Array:
        key_component, key_data, key_noise = jax.random.split(key, 3)
        world = self.world
        mean = world.mean if isinstance(world, Gaussian) else world.means
        normal = jax.random.normal(key_data, mean.shape[-1:], mean.dtype)
        if isinstance(world, Gaussian):
            data = mean + world.basis @ (jnp.sqrt(world.variances) * normal)
        else:
            k = jax.random.categorical(key_component, jnp.log(world.weights))
            data = mean[k] + jnp.sqrt(world.variances[k]) * normal
        eps = jax.random.normal(key_noise, data.shape, data.dtype)
        return self.path.alpha(self.time) * data + self.path.sigma(self.time) * eps

    def log_prob(self, x: Array) -> Array:
        return _Density(self.path)(self.world, x, self.time)


@verb
def exact_prior(flow: Flow) -> Flow:
    """The same world started from its own marginal instead of N(0, sigma_T^2 I), whose relative
    mismatch ``exp(log_snr_min)`` is small but not zero: with it every identity is exact."""
    _check_world(flow)
    return dataclasses.replace(flow, prior=_marginal(flow), prior_from=_marginal)


def _marginal(flow: Flow) -> _Noised:
    return _Noised(flow.params, flow.interval[0], present(flow.path))


@verb
def laplacian(flow: Flow, x: Array, t: ArrayLike) -> Array:
    """``tr grad grad log p_t(x) = sum_k r_k (|s_k|^2 - tr C_k^-1) - |s|^2``, with the
    responsibilities r_k and the components' scores s_k."""
    _check_world(flow)
    parts, offset, variances = _log_parts(flow.params, x, jnp.asarray(t), present(flow.path))
    r, scores = jax.nn.softmax(parts), -offset / variances
    return r @ jnp.sum(scores**2 - 1.0 / variances, axis=1) - jnp.sum((r @ scores) ** 2)


@verb
def divergence(flow: Flow, x: Array, t: ArrayLike) -> Array:
    """``div u = drift D + sigma^2 / 2 laplacian``."""
    t, lap = jnp.asarray(t), laplacian(flow, x, t)
    path = present(flow.path)
    return path.drift(t) * flow.size + 0.5 * path.sigma(t) ** 2 * lap


@verb
def flow_map(flow: Flow, x: Array, start: ArrayLike, stop: ArrayLike) -> Array:
    """Exact solution of the probability-flow ODE of one Gaussian from ``start`` to ``stop``:
    ``alpha_1 mean + C_1^(1/2) C_0^(-1/2) (x - alpha_0 mean)``."""
    _check_world(flow)
    world, path = flow.params, present(flow.path)
    require(isinstance(world, Gaussian), "flow_map has a closed form for one Gaussian only")
    start, stop = jnp.asarray(start), jnp.asarray(stop)

    def scale(t: Array) -> Array:
        return jnp.sqrt(path.alpha(t) ** 2 * world.variances + path.sigma(t) ** 2)

    offset = (x - path.alpha(start) * world.mean) @ world.basis
    return path.alpha(stop) * world.mean + world.basis @ (offset * scale(stop) / scale(start))


def _check_world(flow: Flow) -> None:
    require(
        isinstance(flow.params, (Mixture, Gaussian)),
        "this needs a world: build the flow with densityguide.worlds",
    )
