"""Building flows: from a network on a Gaussian path, or from any velocity field."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, present, require, shape_of, verb
from densityguide.flow import clocks, paths, predictions, priors, spaces, units
from densityguide.flow.conditions import classes_of
from densityguide.flow.flow import Flow
from densityguide.flow.intervals import check_range, interval_of, log_snr_of
from densityguide.flow.modules import framework_of
from densityguide.flow.networks import Network, check_edm, check_field, connect
from densityguide.flow.paths import Path
from densityguide.flow.transform import check_transform

__all__ = ["GaussianField", "cnf", "diffusion", "from_path", "path_prior"]

SHORTEST = 2.0  # steps of a table: times that run from 0 to 1 are no indices


@dataclass(frozen=True)
class GaussianField:
    """Velocity and score of a Gaussian path from a prediction network; compared by value."""

    apply: Callable[..., Array]
    path: Path
    kind: predictions.Kind
    clock: Callable[[Array], Array]

    def __call__(self, params: Any, x: Array, t: Array) -> tuple[Array, Array]:
        output = self.apply(params, x, self.clock(t))
        # bfloat16 networks must not lower the precision of the state.
        output = output.astype(x.dtype)
        sigma = self.path.sigma(t).astype(x.dtype)
        drift = self.path.drift(t).astype(x.dtype)
        at = predictions.Place(x, t, self.path, self.clock)
        score = self.kind.to_score(output, at).astype(x.dtype)
        return drift * x + 0.5 * sigma**2 * score, score


@dataclass(frozen=True)
class AnyField:
    velocity: Callable[..., Array]
    score: Callable[..., Array] | None

    def __call__(self, params: Any, x: Array, t: Array) -> tuple[Array, Array | None]:
        velocity = self.velocity(params, x, t).astype(x.dtype)
        if self.score is None:
            return velocity, None
        return velocity, self.score(params, x, t).astype(x.dtype)


def path_prior(flow: Flow) -> priors.Normal:
    """N(0, sigma(start)^2 I): what a Gaussian path starts from, on the flow's space."""
    scale = present(flow.path).sigma(flow.interval[0])
    return priors.on(priors.normal(flow.shape, scale), flow.space)


def from_path(flow: Flow) -> Flow:
    """The flow with the prior of its path, derived again when its interval or shape changes."""
    flow = dataclasses.replace(flow, prior_from=path_prior)
    return dataclasses.replace(flow, prior=path_prior(flow))


def _check_clock(clock: Any) -> Callable[[Array], Array]:
    require(callable(clock), f"clock must be a function of log-SNR, got {clock!r}")
    t = jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        time = jax.eval_shape(clock, t)
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"clock failed on a scalar log-SNR ({line}): it must be a function of log-SNR in "
            "jax.numpy, e.g. densityguide.clocks.flow_time or clocks.ddpm()"
        ) from error
    shape = getattr(time, "shape", None)
    require(
        shape == () and jnp.issubdtype(time.dtype, jnp.floating),
        "clock must return one float, the network's time, got "
        + (type(time).__name__ if shape is None else f"shape {shape} of {time.dtype}"),
    )
    return clock


def _check_table(network: Network, times: tuple[Array, Array]) -> None:
    """ValueError where a network that looks its times up in a table gets times before it, or so
    few that it must scale them itself."""
    known = concrete(jnp.stack(times)) if network.integer_times else None
    require(
        known is None or bool(known.min() > -0.5 and np.ptp(known) >= SHORTEST),
        f"the network makes whole numbers of its time, and is told {known} at the ends: if it "
        "scales its time itself, pass integer_times=False; if not, say which steps they are, e.g. "
        "clock=densityguide.clocks.ddpm(betas)",
    )


@verb
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
    space: spaces.Space | None = None,
    standardise: tuple[ArrayLike, ArrayLike] | None = None,
    condition: Any = None,
    classes: int | range | None = None,
    batched: bool | None = None,
    channels_first: bool | None = None,
    integer_times: bool | None = None,
    learned_variance: bool | None = None,
) -> Flow:
    """A flow from a network trained on a Gaussian path (diffusion, EDM, flow matching).

    The probability-flow velocity per unit log-SNR is ``u = drift x + sigma^2 / 2 s`` (Song et
    al., ICLR 2021), with the score ``s`` converted from what the network predicts.

    Args:
        apply: ``(params, x, t) -> prediction`` for ONE sample, or ``(x, t)`` when ``params`` is
            None; or a module: of flax linen with its ``params``, of flax nnx or equinox with
            the weights it holds (a copy of them, in evaluation mode); of PyTorch likewise, run by
            JAX through torchax (extra ``torch``).
        path: ``paths.variance_preserving()``, ``variance_exploding()``, ``linear()``,
            ``sub_variance_preserving()``, ``conditional_ot(sigma_min)`` or ``custom(log_alpha,
            log_sigma)``.
        prediction: ``"noise"``, ``"data"``, ``"v"``, ``"score"`` or ``"velocity"``.
        shape: of one sample, channels last for images.
        params: weights; kept as an argument of every compiled program.
        log_snr: range, noise end first; ``densityguide.clocks`` has it for a time t, EDM's sigma
            and betas. The prior is N(0, sigma(start)^2 I).
        clock: log-SNR to the network's own time; see ``densityguide.clocks``.
        transform: declared data transform, needed by ``bits_per_dim``.
        space: where samples live, if not in all of R^D: ``spaces.masked(mask)`` for padding that
            counts no dimension, ``spaces.centred()`` for zero centre of mass.
        standardise: ``(mean, std)`` of data that the network was trained on as
            ``(x - mean) / std``: samples and log p are then those of x, in the user's own units.
            Numbers or arrays that broadcast to one sample. ``noise_level`` stays the network's.
        condition: anything the network takes after ``t``, for one sample: a class, an embedding,
            a pytree of them. It is traced; change it with ``flow.given(...)``.
        classes: number (10: 0 to 9) or range (``range(-1, 10)``) of the labels that the network
            knows. Others are refused; traced ones make ``flow.condition_valid()`` false.
        batched: the network takes a leading axis of samples, on x, t and condition.
        channels_first: the network takes [C, H, W]; the flow stays [H, W, C].
        integer_times: the network looks its time up in a table, by whole numbers: it is called at
            both neighbours, and the line between them taken, at twice the cost. That line is the
            flow whose log p is reported: between its rows the network has no value of its own, so
            no error bar can hold the line against it.
        learned_variance: the network returns twice the channels, first the prediction and then the
            variance of a step (Nichol and Dhariwal, ICML 2021): the first half is taken.
            By default all four are False, and for a module of PyTorch what a trial call finds.

    Raises:
        ValueError: something that is not a path, an unknown prediction, a range that falls, leaves
            the path or is a time, EDM's preconditioning on another path, a network whose output
            does not have the shape of its input, or an unknown class.
    """
    path = paths.check(path)
    kind = predictions.kind_of(prediction, path)
    clock = _check_clock(clock)
    check_edm(apply, path, kind, clock)
    shape = shape_of(shape, "shape")
    network, params = connect(
        apply,
        params,
        condition=condition,
        shape=shape,
        batched=batched,
        channels_first=channels_first,
        integer_times=integer_times,
        learned_variance=learned_variance,
    )
    ends = log_snr_of(log_snr, "log_snr", path)
    check_range(ends, "log_snr")
    _check_table(network, (clock(ends[0]), clock(ends[1])))
    field = GaussianField(network, path, kind, clock)
    check_field(field, params, shape, "the network")
    known, transform = classes_of(classes, condition), check_transform(transform, prod(shape))
    space = spaces.check(space, shape, on_path=True)
    given = units.check(standardise, shape, space)
    flow = Flow(params, ends, None, field, shape, path, transform=transform, classes=known)
    return from_path(dataclasses.replace(flow, space=space, units=given))


@verb
def cnf(
    velocity: Callable[..., Array],
    *,
    prior: priors.Prior,
    interval: tuple[ArrayLike, ArrayLike],
    shape: tuple[int, ...],
    params: Any = None,
    score: Callable[..., Array] | None = None,
    transform: Any = None,
    space: spaces.Space | None = None,
    standardise: tuple[ArrayLike, ArrayLike] | None = None,
    condition: Any = None,
    classes: int | range | None = None,
    batched: bool | None = None,
    channels_first: bool | None = None,
    integer_times: bool | None = None,
) -> Flow:
    """Any continuous normalizing flow, with or without a score.

    Args:
        velocity: ``(params, x, t) -> dx/dt`` for ONE sample (``(x, t)`` without ``params``).
        prior: any pytree with ``sample(key)``, one sample of ``shape``, and ``log_prob(x)``, one
            number of nats; see ``densityguide.priors``.
        interval: ``(time of the prior, time of the data)``, in either order of size.
        shape: of one sample.
        score: ``(params, x, t) -> grad log p_t(x)``, needed by density guidance only.
        condition, classes, batched, channels_first, integer_times: as of `diffusion`.
        transform: declared data transform, needed by ``bits_per_dim``.
        space: as of `diffusion`, and ``spaces.sphere()`` or ``spaces.torus(period)``; log p is the
            density on it. A prior of `densityguide.priors` is put on the space, and one's own is
            taken for a density there.
        standardise: as of `diffusion`.

    Raises:
        ValueError: unusable prior, equal ends, or outputs of another shape than the input.
    """
    shape = shape_of(shape, "shape")
    network, known = connect(
        velocity,
        params,
        condition=condition,
        shape=shape,
        batched=batched,
        channels_first=channels_first,
        integer_times=integer_times,
        name="velocity",
    )
    if score is not None:
        framework = framework_of(score)
        require(
            framework is None,
            f"score must be a function (params, x, t), got a module of "
            f"{'' if framework is None else framework.name}, whose weights would be lost: put them "
            "into params= and call it in a function",
        )
        require(callable(score), f"score must be a function (params, x, t), got {score!r}")
        score = dataclasses.replace(network, function=score, name="score")
    ends = interval_of(interval, "interval")
    _check_table(network, ends)
    network = dataclasses.replace(network, name="velocity")
    space = spaces.check(space, shape, on_path=False)
    field = AnyField(network, score)
    check_field(field, known, shape, "the velocity")
    return Flow(
        known,
        ends,
        priors.check(priors.on(prior, space), shape),
        field,
        shape,
        transform=check_transform(transform, prod(shape)),
        has_score=score is not None,
        classes=classes_of(classes, condition),
        space=space,
        units=units.check(standardise, shape, space),
    )
