"""``Flow``: the one pytree that every verb acts on.

A flow moves samples from a prior to data by a velocity field ``dx/dt = u(x, t)`` and, if it has
one, knows the score ``s = grad log p_t(x)``. Weights, ends of the interval and the prior's scale
are leaves (traced: changing them never recompiles); functions and shapes are static.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import present, require, verb, verb_but
from densityguide.flow import conditions, spaces, units
from densityguide.flow.calibration import Calibration, checked, spans
from densityguide.flow.describe import describe
from densityguide.flow.intervals import interval_of, same
from densityguide.flow.networks import check_field
from densityguide.flow.paths import Path
from densityguide.flow.renew import interval_for, placed, shape_for, uncalibrated, with_prior
from densityguide.flow.transform import check_transform

__all__ = ["SMALL", "Calibration", "Flow", "require_flow"]

SMALL = 256  # dimensions


class _Keep(enum.Enum):
    KEEP = enum.auto()


Keep = Literal[_Keep.KEEP]
KEEP: Keep = _Keep.KEEP
_ANEW = "the parts of a flow belong together: build the flow anew"


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
        calibrations: of every class, stacked in the order of ``classes``: `given` picks one.
        transform: static declared data transform (for bits/dim), or None.
        density: static ``(params, x, t) -> log p_t(x)`` where a closed form exists, or None.
        has_score: static, whether ``field`` returns a score.
        prior_from: static ``flow -> prior`` that derived the prior; None for one that was given.
        classes: static range of the class labels that the network knows, or None.
        space: where samples live, of `densityguide.spaces`; None for all of R^D.
        units: the user's own, in which samples and log p are told; None for the network's.
    """

    params: Any
    interval: tuple[Array, Array]
    prior: Any
    field: Callable[..., tuple[Array, Array | None]] = dataclasses.field(metadata={"static": True})
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    path: Path | None = dataclasses.field(default=None, metadata={"static": True})
    calibration: Calibration | None = None
    calibrations: Calibration | None = None
    transform: Any = dataclasses.field(default=None, metadata={"static": True})
    density: Callable[..., Array] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    has_score: bool = dataclasses.field(default=True, metadata={"static": True})
    prior_from: Callable[[Flow], Any] | None = dataclasses.field(
        default=None, metadata={"static": True}
    )
    classes: range | None = dataclasses.field(default=None, metadata={"static": True})
    space: Any = None
    units: units.Units | None = None

    def __repr__(self) -> str:
        return describe(self)

    @property
    def size(self) -> int:
        """Number of entries D."""
        return prod(self.shape)

    @property
    def dimensions(self) -> Any:
        """Number of dimensions that log p counts: D, or those of the flow's space."""
        return self.size if self.space is None else spaces.dimensions(self.space, self.shape)

    def outputs(self, x: Array, t: Array) -> tuple[Array, Array | None]:
        """Velocity and score (or None) at one state, along the flow's space."""
        out = self.field(self.params, self.place(x), t)
        return jax.tree.map(lambda v: self.along(x, v), out)

    def velocity(self, x: Array, t: ArrayLike) -> Array:
        """``dx/dt`` of the base flow, shaped like ``x``."""
        return self.outputs(x, jnp.asarray(t))[0]

    def score(self, x: Array, t: ArrayLike) -> Array:
        """``grad log p_t(x)``; raises if the flow has none."""
        require(self.has_score, "this flow has no score: pass score= to densityguide.cnf")
        return present(self.outputs(x, jnp.asarray(t))[1])

    def log_density(self, x: Array, t: ArrayLike) -> Array:
        """Closed-form ``log p_t(x)`` in nats; worlds have it, networks do not."""
        require(
            self.density is not None,
            "this flow has no closed form: use densityguide.log_density(flow, x)",
        )
        return present(self.density)(self.params, x, jnp.asarray(t))

    @verb_but(
        path=_ANEW,
        field=_ANEW,
        density=_ANEW,
        has_score=_ANEW,
        prior_from=_ANEW,
        classes=_ANEW,
        log_snr="the range of log-SNR is called interval=",
        condition="use flow.given(condition)",
    )
    def replace(
        self,
        *,
        params: Any = KEEP,
        interval: tuple[ArrayLike, ArrayLike] | Keep = KEEP,
        shape: tuple[int, ...] | Keep = KEEP,
        prior: Any = KEEP,
        calibration: Calibration | Keep | None = KEEP,
        transform: Any = KEEP,
        space: Any = KEEP,
        standardise: Any = KEEP,
    ) -> Flow:
        """A copy with other parts, e.g. ``flow.replace(params=ema)``; what was derived from them is
        derived again.

        A prior that `diffusion` or `worlds` derived follows the interval, the shape and the
        weights; one that was given to `cnf` stays with its own start and shape. The
        calibration belongs to the weights, prior and shape it was measured with, and to the clock
        it spans: with others it is dropped, and one warning says so. A condition stays when
        ``params`` are other weights.

        Args:
            params: weights of the same kind.
            interval: ``(prior end, data end)``; traced ends work. To cut a part out of the flow use
                `between`.
            shape: of one sample; the network has to take it.
            prior: to start from, checked as by `cnf`.
            calibration: of the new flow, or None.
            transform: declared data transform, or None.
            space: of `densityguide.spaces`, or None; a mask of another length, say.
            standardise: units ``(mean, std)``, or None.

        Raises:
            ValueError: another start or shape under a prior that was given, a world's shape, a
                range off the path, weights or a shape that the network does not take, or a part
                that cannot be replaced alone (path, field).
        """
        new: dict[str, Any] = {}
        if not isinstance(params, _Keep):
            new["params"] = conditions.rewired(self.params, params)
        if not isinstance(interval, _Keep):
            new["interval"] = interval_for(self, interval)
        if not isinstance(shape, _Keep):
            new["shape"] = shape_for(self, shape)
        if not isinstance(transform, _Keep):
            new["transform"] = check_transform(transform, self.size)
        if not isinstance(space, _Keep):
            new["space"] = space
        flow = dataclasses.replace(self, **new)
        given = self.units if isinstance(standardise, _Keep) else standardise
        flow = placed(flow, given, "space" in new or "shape" in new)
        if shape is not KEEP or not conditions.same_kind(flow.params, self.params):
            check_field(flow.field, flow.params, flow.shape, "the flow's network")
        flow = with_prior(flow, self, prior, isinstance(prior, _Keep))
        changed: list[str] = [name for name in ("params", "shape", "space") if name in new]
        changed += [] if isinstance(prior, _Keep) else ["prior"]
        held = flow.calibration, flow.calibrations
        changed += ["interval"] if "interval" in new and not spans(held, flow.interval) else []
        if isinstance(calibration, _Keep):
            return uncalibrated(flow, changed)
        kept = None if changed else flow.calibrations
        return dataclasses.replace(flow, calibration=checked(calibration), calibrations=kept)

    def between(self, start: ArrayLike, stop: ArrayLike) -> Flow:
        """The part of the flow from ``start`` to ``stop`` on its clock, forwards or backwards.

        The prior is left as it is, not derived for the new start: states at ``start`` come from the
        part before, and ``prior`` is still that of the whole flow. To sample over another range
        use ``replace(interval=...)``.
        """
        ends = interval_of((start, stop), "the part of the flow")
        return dataclasses.replace(self, interval=ends, prior_from=None)

    @verb
    def given(self, condition: Any, *, calibration: Calibration | Keep | None = KEEP) -> Flow:
        """The same flow under another condition.

        The calibration belongs to the old condition: under another one it is that of the new
        class where the model holds one for each, and is dropped, with one warning, where it does
        not, unless it is passed.

        Raises:
            ValueError: a flow without a condition, one of another shape, or a class that the
                network does not know (a traced one makes `condition_valid` false).
        """
        require(
            isinstance(self.params, conditions.Conditioned),
            "this flow takes no condition: build it with condition=, and give it before "
            "classifier_free",
        )
        condition = conditions.alike(self.params.condition, condition, "the new condition")
        conditions.check_labels(self.classes, condition, "the new condition")
        flow = dataclasses.replace(self, params=self.params._replace(condition=condition))
        if not isinstance(calibration, _Keep):
            return dataclasses.replace(flow, calibration=checked(calibration))
        pairs = map(jax.tree.leaves, (self.params.condition, condition))
        if all(same(old, new) for old, new in zip(*pairs, strict=True)):
            return flow
        if flow.calibrations is None or flow.classes is None:
            return uncalibrated(flow, ["condition"])
        row = condition - flow.classes.start
        one = jax.tree.map(lambda value: value[row], flow.calibrations)
        return dataclasses.replace(flow, calibration=one)

    def condition_valid(self) -> Array:
        """Whether every class label is one that the network knows (bool); true where its classes
        are not known. For a label outside, JAX would silently take the table's nearest row."""
        return conditions.labels_fit(self.classes, self.params)

    @property
    def is_small(self) -> bool:
        """Up to 256 dimensions: an exact trace is cheap enough to be the default."""
        return self.size <= SMALL

    def end_scale(self) -> Array:
        """``alpha`` at the data end (1 without a path): reported samples are ``x / alpha``."""
        if self.path is None:
            return jnp.ones((), jnp.result_type(float))
        return self.path.alpha(self.interval[1])

    def place(self, x: Array) -> Array:
        """The point of the flow's space nearest to a state."""
        return x if self.space is None else self.space.point(x)

    def along(self, x: Array, v: Array) -> Array:
        """The part of a vector at ``x`` that stays in the flow's space."""
        return v if self.space is None else self.space.tangent(x, v)

    def to_data(self, state: Array) -> Array:
        """The sample that a state at the data end is: over alpha, and in the user's units."""
        z = self.place(state / self.end_scale()).astype(state.dtype)
        return units.told(self.units, self.space, z)

    def to_state(self, x: Array) -> Array:
        """The state at the data end that a sample is: the inverse of `to_data`."""
        z = units.network(self.units, x)
        return self.place(z * self.end_scale()).astype(x.dtype)

    def log_volume(self) -> Array:
        """Nats from the log p of a state at the data end to that of its sample,
        ``d log(alpha) - sum log std``."""
        offset = self.dimensions * jnp.log(self.end_scale())
        if self.units is None:
            return offset
        return offset - spaces.log_volume(self.space, self.units.std, self.shape)

    def noise_level(self) -> Array:
        """sigma / alpha at the data end, at which a reported log p is a density; 0 without a
        path."""
        if self.path is None:
            return jnp.zeros((), jnp.result_type(float))
        return jnp.exp(-0.5 * self.interval[1])


def require_flow(value: Any, verb: str) -> None:
    """ValueError unless it is a `Flow`."""
    require(
        isinstance(value, Flow),
        f"{verb} takes a flow first, got {type(value).__name__}: build one with "
        "densityguide.diffusion or densityguide.cnf, or load one with densityguide.models.load",
    )
