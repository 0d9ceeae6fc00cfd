"""Conversions among what a network may predict, on any Gaussian path.

With ``x = alpha x0 + sigma eps``, score ``s`` and velocity ``u`` per unit log-SNR:

* noise: ``s = -eps / sigma``
* data: ``s = (alpha x0 - x) / sigma^2``
* v: ``v = alpha eps - sigma x0`` (Salimans and Ho, ICLR 2022), so ``eps = alpha v + sigma x``;
  only where ``alpha^2 + sigma^2 = 1``
* velocity: ``w = dx/dt`` in the network's own clock ``t``. One rule covers every clock:
  ``u = w dt/dlog_snr`` and ``s = 2 (u - drift x) / sigma^2``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import nearest, require
from densityguide.flow import clocks
from densityguide.flow.paths import Path

__all__ = ["Kind", "Place", "Prediction", "check", "convert", "kind_of", "score_from", "score_to"]

Prediction = Literal["noise", "data", "v", "score", "velocity"]


class Place(NamedTuple):
    """Where a prediction was made: the state, its log-SNR, the path and the network's clock."""

    x: Array
    log_snr: Array
    path: Path
    clock: Callable[[Array], Array]

    @property
    def alpha(self) -> Array:
        return self.path.alpha(self.log_snr)

    @property
    def sigma(self) -> Array:
        return self.path.sigma(self.log_snr)

    @property
    def drift(self) -> Array:
        return self.path.drift(self.log_snr)

    @property
    def clock_rate(self) -> Array:
        return jax.jvp(self.clock, (self.log_snr,), (jnp.ones_like(self.log_snr),))[1]


@dataclass(frozen=True)
class Kind:
    """One kind of prediction, with its conversions to the score and back."""

    name: Prediction
    to_score: Callable[[Array, Place], Array]
    from_score: Callable[[Array, Place], Array]
    needs_variance: bool = False  # alpha^2 + sigma^2 = 1

    def fits(self, path: Path) -> bool:
        """Whether it makes sense on the path."""
        return path.preserves_variance or not self.needs_variance


def _velocity_to_score(output: Array, at: Place) -> Array:
    return 2.0 * (output * at.clock_rate - at.drift * at.x) / at.sigma**2


def _score_to_velocity(score: Array, at: Place) -> Array:
    return (at.drift * at.x + 0.5 * at.sigma**2 * score) / at.clock_rate


NOISE = Kind("noise", lambda out, at: -out / at.sigma, lambda s, at: -at.sigma * s)
DATA = Kind(
    "data",
    lambda out, at: (at.alpha * out - at.x) / at.sigma**2,
    lambda s, at: (at.x + at.sigma**2 * s) / at.alpha,
)
V = Kind(
    "v",
    lambda out, at: -(at.alpha / at.sigma) * out - at.x,
    lambda s, at: -(at.sigma / at.alpha) * (at.x + s),
    needs_variance=True,
)
SCORE = Kind("score", lambda out, at: out, lambda s, at: s)
VELOCITY = Kind("velocity", _velocity_to_score, _score_to_velocity)
KINDS = (NOISE, DATA, V, SCORE, VELOCITY)
_BY_NAME: dict[Any, Kind] = {kind.name: kind for kind in KINDS}
# Names used in other code.
_SPOKEN: dict[Any, Prediction] = {
    **dict.fromkeys(("eps", "epsilon"), "noise"),
    **dict.fromkeys(("x0", "x_0", "sample", "x_start", "denoised", "original_sample"), "data"),
    **dict.fromkeys(("v_prediction", "v-prediction"), "v"),
    **dict.fromkeys(("flow", "flow_prediction", "vector_field"), "velocity"),
}


def kind_of(prediction: Any, path: Path) -> Kind:
    """The kind of that name; ValueError unless it is known and makes sense on ``path``."""
    kind = _BY_NAME.get(prediction) if isinstance(prediction, str) else None
    if kind is None:
        known = get_args(Prediction)
        spoken = _SPOKEN.get(prediction) if isinstance(prediction, str) else None
        hint = f"did you mean {spoken!r}?" if spoken else nearest(str(prediction), known)
        raise ValueError(
            f"prediction must be one of {', '.join(known)}, got {prediction!r}: {hint}"
        )
    require(
        kind.fits(path),
        f"prediction {kind.name!r} needs the variance preserving path, got {path.name}: "
        "use 'velocity' on the linear path, or convert the output to 'noise'",
    )
    return kind


def check(prediction: str, path: Path) -> Prediction:
    """``prediction`` itself; ValueError unless it is known and makes sense on ``path``."""
    return kind_of(prediction, path).name


def score_from(
    output: Array,
    x: Array,
    log_snr: Array,
    *,
    path: Path,
    prediction: Prediction,
    clock: Callable[[Array], Array] = clocks.log_snr,
) -> Array:
    """The score ``grad log p`` from a network's output; all arrays shaped like ``x``."""
    return kind_of(prediction, path).to_score(output, Place(x, log_snr, path, clock))


def score_to(
    score: Array,
    x: Array,
    log_snr: Array,
    *,
    path: Path,
    prediction: Prediction,
    clock: Callable[[Array], Array] = clocks.log_snr,
) -> Array:
    """What a network of this kind would predict, from the score: inverse of `score_from`."""
    return kind_of(prediction, path).from_score(score, Place(x, log_snr, path, clock))


def convert(
    value: Array,
    x: Array,
    log_snr: Array,
    *,
    path: Path,
    source: Prediction,
    target: Prediction,
    clock: Callable[[Array], Array] = clocks.log_snr,
) -> Array:
    """Convert one kind of prediction to another, through the score; arrays shaped like ``x``."""
    at = Place(x, jnp.asarray(log_snr), path, clock)
    return kind_of(target, path).from_score(kind_of(source, path).to_score(value, at), at)
