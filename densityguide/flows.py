"""``Flow``: the one pytree that every verb acts on.

A flow moves samples from a prior to data by a velocity field ``dx/dt = u(x, t)`` and, if it has
one, knows the score ``s = grad log p_t(x)``. Weights, ends of the interval and the prior's scale
are leaves (traced: changing them never recompiles); functions and shapes are static.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide import clocks, predictions, priors
from densityguide.divergence import linearise
from densityguide.errors import concrete, number, present, require, shape_of
from densityguide.frameworks import framework_of
from densityguide.networks import Conditioned, ShapeError, alike, check_edm, connect
from densityguide.paths import Path

__all__ = ["Calibration", "Flow", "Local", "cnf", "diffusion", "evaluate"]
__all__ += ["require_flow"]

SMALL = 256  # dimensions


class Calibration(NamedTuple):
    """What natural samples do along the clock; see ``densityguide.calibrate``.

    ``times`` [n] rising; ``log_density`` [n] mean log p of the base flow in nats;
    ``spread`` [n] standard deviation of ``h = sigma^2 (laplacian + |s|^2) / sqrt(2 D)``.
    """

    times: Array
    log_density: Array
    spread: Array


class Local(NamedTuple):
    """One evaluation of a flow: velocity, score (or None), and ``tangent(v) -> (J_u v, J_s v)``
    through the linearisation at the same point (a mistake to call where none was asked for)."""

    velocity: Array
    score: Array | None
    tangent: Callable[[Array], tuple[Array, Any]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Flow:
    """A continuous normalizing flow. Build one with `diffusion`, `cnf` or `worlds`.

    Attributes:
        params: weights, any pytree.
        interval: ``(start, stop)``: prior end first; log-SNR for Gaussian paths.
        prior: where latents come from.
        field: static ``(params, x, t) -> (velocity, score or None)`` for one sample.
        shape: static shape of one sample.
        path: static Gaussian path, or None for any other flow.
        calibration: see `Calibration`, or None.
        transform: static declared data transform (for bits/dim), or None.
        density: static ``(params, x, t) -> log p_t(x)`` where a closed form exists, or None.
    """

    params: Any
    interval: tuple[Array, Array]
    prior: Any
    field: Callable[..., tuple[Array, Array | None]] = dataclasses.field(metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    path: Path | None = dataclasses.field(default=None, metadata={"static": True})
    calibration: Calibration | None = None
    transform: Any = dataclasses.field(default=None, metadata={"static": True})
    density: Callable[..., Array] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    has_score: bool = dataclasses.field(default=True, metadata={"static": True})

    @property
    def size(self) -> int:
        """Number of dimensions D."""
        return prod(self.shape)

    def velocity(self, x: Array, t: ArrayLike) -> Array:
        """``dx/dt`` of the base flow, shaped like ``x``."""
        return self.field(self.params, x, jnp.asarray(t))[0]

    def score(self, x: Array, t: ArrayLike) -> Array:
        """``grad log p_t(x)``; raises if the flow has none."""
        require(self.has_score, "this flow has no score: pass score= to densityguide.cnf")
        return present(self.field(self.params, x, jnp.asarray(t))[1])

    def log_density(self, x: Array, t: ArrayLike) -> Array:
        """Closed-form ``log p_t(x)`` in nats; worlds have it, networks do not."""
        require(
            self.density is not None,
            "this flow has no closed form: use densityguide.log_density(flow, x)",
        )
        return present(self.density)(self.params, x, jnp.asarray(t))

    def replace(self, **changes: Any) -> Flow:
        """A copy with other parts, e.g. ``flow.replace(params=ema)``."""
        return dataclasses.replace(self, **changes)

    def given(self, condition: Any) -> Flow:
        """The same flow under another condition; ValueError if it was built without one, or with
        one of another shape."""
        require(
            isinstance(self.params, Conditioned),
            "this flow takes no condition: build it with condition=, and give it before "
            "classifier_free",
        )
        condition = alike(self.params.condition, condition, "the new condition")
        return self.replace(params=self.params._replace(condition=condition))

    @property
    def is_small(self) -> bool:
        """Up to 256 dimensions: an exact trace is cheap enough to be the default."""
        return self.size <= SMALL

    def end_scale(self) -> Array:
        """``alpha`` at the data end (1 without a path): reported samples are ``x / alpha``."""
        if self.path is None:
            return jnp.ones((), jnp.result_type(float))
        return self.path.alpha(self.interval[1])


def require_flow(value: Any, verb: str) -> None:
    """ValueError unless it is a `Flow`."""
    require(
        isinstance(value, Flow),
        f"{verb} takes a flow first, got {type(value).__name__}: build one with "
        "densityguide.diffusion or densityguide.cnf, or load one with densityguide.models.load",
    )


def evaluate(flow: Flow, x: Array, t: Array, *, tangents: bool = False) -> Local:
    """One forward pass at ``(x, t)``; with ``tangents`` also its linearisation."""

    def outputs(x: Array) -> tuple[Array, Array | None]:
        return flow.field(flow.params, x, t)

    if not tangents:
        velocity, score = outputs(x)
        return Local(velocity, score, _not_asked_for)
    (velocity, score), linear = linearise(outputs, x)
    return Local(velocity, score, linear)


def _not_asked_for(tangent: Array) -> tuple[Array, Any]:
    raise AssertionError("evaluate(..., tangents=True) takes tangents")


@dataclass(frozen=True)
class _Diffusion:
    """Velocity and score of a Gaussian path from a prediction network; compared by value."""

    apply: Callable[..., Array]
    path: Path
    prediction: predictions.Prediction
    clock: Callable[[Array], Array]

    def __call__(self, params: Any, x: Array, t: Array) -> tuple[Array, Array]:
        output = self.apply(params, x, self.clock(t))
        # bfloat16 networks must not lower the precision of the state.
        output = output.astype(x.dtype)
        sigma = self.path.sigma(t).astype(x.dtype)
        drift = self.path.drift(t).astype(x.dtype)
        score = predictions.score_from(
            output, x, t, path=self.path, prediction=self.prediction, clock=self.clock
        ).astype(x.dtype)
        return drift * x + 0.5 * sigma**2 * score, score


@dataclass(frozen=True)
class _Cnf:
    velocity: Callable[..., Array]
    score: Callable[..., Array] | None

    def __call__(self, params: Any, x: Array, t: Array) -> tuple[Array, Array | None]:
        velocity = self.velocity(params, x, t).astype(x.dtype)
        if self.score is None:
            return velocity, None
        return velocity, self.score(params, x, t).astype(x.dtype)


def _interval(ends: tuple[ArrayLike, ArrayLike], name: str, *, rising: bool) -> tuple[Array, Array]:
    require(
        isinstance(ends, (tuple, list)) and len(ends) == 2,
        f"{name} must be a pair (prior end, data end), got {ends!r}",
    )
    start, stop = concrete(ends[0]), concrete(ends[1])
    if start is not None and stop is not None:
        require(bool(start != stop), f"{name} must have two different ends, got {ends}")
        require(
            not rising or bool(start < stop),
            f"{name} must rise from noise to data, got {ends}: swap the ends",
        )
    return number(ends[0], name), number(ends[1], name)


def _check_field(flow: Flow, what: str) -> Flow:
    x = jax.ShapeDtypeStruct(flow.shape, jnp.result_type(float))
    t = jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        jax.eval_shape(flow.field, flow.params, x, t)
    except ShapeError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{what} failed on ONE sample of shape {flow.shape} and a scalar time ({line}): "
            "check shape= and params=; batched= and channels_first= say what else a network takes"
        ) from error
    return flow


def diffusion(
    apply: Callable[..., Array],
    *,
    path: Path,
    prediction: predictions.Prediction,
    shape: tuple[int, ...],
    params: Any = None,
    log_snr: tuple[ArrayLike, ArrayLike] = (-10.0, 10.0),
    clock: Callable[[Array], Array] = clocks.log_snr,
    transform: Any = None,
    condition: Any = None,
    batched: bool = False,
    channels_first: bool = False,
) -> Flow:
    """A flow from a network trained on a Gaussian path (diffusion, EDM, flow matching).

    The probability-flow velocity per unit log-SNR is ``u = drift x + sigma^2 / 2 s`` (Song et
    al., ICLR 2021), with the score ``s`` converted from what the network predicts.

    Args:
        apply: ``(params, x, t) -> prediction`` for ONE sample, or ``(x, t)`` when ``params`` is
            None; or a module: of flax linen with its ``params``, of flax nnx or equinox with
            the weights it holds (a copy of them, in evaluation mode).
        path: ``paths.variance_preserving()``, ``variance_exploding()`` or ``linear()``.
        prediction: ``"noise"``, ``"data"``, ``"v"``, ``"score"`` or ``"velocity"``.
        shape: of one sample, channels last for images.
        params: weights; kept as an argument of every compiled program.
        log_snr: range, noise end first. The prior is N(0, sigma(start)^2 I).
        clock: log-SNR to the network's own time; see ``densityguide.clocks``.
        transform: declared data transform, needed by ``bits_per_dim``.
        condition: anything the network takes after ``t``, for one sample: a class, an embedding,
            a pytree of them. It is traced; change it with ``flow.given(...)``.
        batched: the network takes a leading axis of samples, on x, t and condition.
        channels_first: the network takes [C, H, W]; the flow stays [H, W, C].

    Raises:
        ValueError: unknown prediction, falling range, EDM's preconditioning on another path, or a
            network whose output does not have the shape of its input.
    """
    predictions.check(prediction, path)
    check_edm(apply, path, prediction)
    require(callable(clock), f"clock must be a function of log-SNR, got {clock!r}")
    network, params = connect(
        apply, params, condition=condition, batched=batched, channels_first=channels_first
    )
    shape = shape_of(shape, "shape")
    ends = _interval(log_snr, "log_snr", rising=True)
    field = _Diffusion(network, path, prediction, clock)
    prior = priors.normal(shape, path.sigma(ends[0]))
    flow = Flow(params, ends, prior, field, shape, path, transform=transform)
    return _check_field(flow, "the network")


def cnf(
    velocity: Callable[..., Array],
    *,
    prior: priors.Prior,
    interval: tuple[ArrayLike, ArrayLike],
    shape: tuple[int, ...],
    params: Any = None,
    score: Callable[..., Array] | None = None,
    transform: Any = None,
    condition: Any = None,
    batched: bool = False,
    channels_first: bool = False,
) -> Flow:
    """Any continuous normalizing flow, with or without a score.

    Args:
        velocity: ``(params, x, t) -> dx/dt`` for ONE sample (``(x, t)`` without ``params``).
        prior: any pytree with ``sample(key)`` and ``log_prob(x)``; see ``densityguide.priors``.
        interval: ``(time of the prior, time of the data)``, in either order of size.
        shape: of one sample.
        score: ``(params, x, t) -> grad log p_t(x)``, needed by density guidance only.
        condition, batched, channels_first: as of `diffusion`.
        transform: declared data transform, needed by ``bits_per_dim``.

    Raises:
        ValueError: unusable prior, equal ends, or outputs of another shape than the input.
    """
    layout = {"condition": condition, "batched": batched, "channels_first": channels_first}
    network, known = connect(velocity, params, name="velocity", **layout)
    if score is not None:
        framework = framework_of(score)
        require(
            framework is None,
            f"score must be a function (params, x, t), got a module of {framework}, whose weights "
            "would be lost: put them into params= and call it in a function",
        )
        require(callable(score), f"score must be a function (params, x, t), got {score!r}")
        score = dataclasses.replace(network, function=score, name="score")
    network = dataclasses.replace(network, name="velocity")
    priors.check(prior)
    shape = shape_of(shape, "shape")
    ends = _interval(interval, "interval", rising=False)
    field = _Cnf(network, score)
    flow = Flow(known, ends, prior, field, shape, transform=transform, has_score=score is not None)
    return _check_field(flow, "the velocity")
