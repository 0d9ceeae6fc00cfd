"""Noise for stochastic density guidance: how much, where, and in which calculus.

The guided SDE adds noise orthogonal to the score, so that log p keeps its schedule
(Karczewski et al., ICML 2025, Eq. 25)::

    dx = (u + c s / |s|^2) dt + phi P o dW,    P = I - s s^T / |s|^2,    phi = level(t) sigma(t)

``level`` is relative to the reverse SDE, whose level is 1. In the Stratonovich form (default)
the Ito correction cancels exactly and nothing has to be estimated. The Ito forms subtract
``phi^2 / 2 tr(P H P)`` from the drift along s: exactly (``ito``), with the step's own noise as
the probe (``ito_probe``), or with the Laplacian alone as published (``ito_published``, biased;
for comparison). Early noise (small log-SNR) varies structure, late noise fine detail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import concrete, present, require, scalar, verb
from densityguide.steer.knots import Knots

__all__ = ["FORMS", "Bend", "Form", "Noise", "band", "constant", "project"]

Name = Literal["stratonovich", "ito", "ito_probe", "ito_published"]


def project(vector: Array, unit: Array) -> Array:
    """The part orthogonal to the score."""
    return vector - jnp.sum(vector * unit) * unit


class Bend(NamedTuple):
    """What a form of noise may look at: ``half`` = phi^2 / 2 per unit of the signed clock, the
    ``unit`` vector of the score, the step's own unit noise ``xi``, ``curvature(v) = H v``, and
    the ``laplacian`` of log p (None unless the form needs the trace)."""

    half: Array
    unit: Array
    xi: Array
    curvature: Callable[[Array], Array]
    laplacian: Array | None


# (rate at which the noise lifts log p, what the drift takes back), nats per unit of the clock.
Rates = tuple[Array | float, Array | float]


def _stratonovich(bend: Bend) -> Rates:
    return 0.0, 0.0  # the two cancel identically


def _own_probe(bend: Bend) -> Rates:
    # The step's own noise as the probe cancels the leading error path by path.
    across = project(bend.xi, bend.unit)
    own = bend.half * jnp.sum(across * bend.curvature(across))
    return own, own


def _exact(bend: Bend) -> Rates:
    along = jnp.sum(bend.unit * bend.curvature(bend.unit))
    lift = bend.half * (present(bend.laplacian) - along)
    return lift, lift


def _published(bend: Bend) -> Rates:
    return _exact(bend)[0], bend.half * present(bend.laplacian)


@dataclass(frozen=True)
class Form:
    """A calculus, and the lift of log p with what the drift takes back in it."""

    name: str
    is_ito: bool
    rates: Callable[[Bend], Rates]
    tangents: int  # pushed per evaluation, beside the trace
    needs_trace: bool


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("stratonovich", False, _stratonovich, 0, False),
        Form("ito", True, _exact, 1, True),
        Form("ito_probe", True, _own_probe, 1, False),
        Form("ito_published", True, _published, 1, True),
    )
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noise:
    """Noise level over the clock: ``level`` (a number or `knots`) between ``start`` and
    ``stop``, zero elsewhere. The numbers are traced, ``form`` is static."""

    level: Any
    start: Array
    stop: Array
    form: Form = field(default=FORMS["stratonovich"], metadata={"static": True})

    @property
    def values(self) -> Array:
        """The level, or its knots' values."""
        return self.level.values if isinstance(self.level, Knots) else self.level

    def __call__(self, t: Array) -> Array:
        level = self.level(t) if isinstance(self.level, Knots) else self.level
        return jnp.where((t >= self.start) & (t <= self.stop), level, 0.0)


@verb
def constant(level: ArrayLike | Knots, *, form: Name = "stratonovich") -> Noise:
    """The same relative level throughout, or `knots` over the clock."""
    return band(-jnp.inf, jnp.inf, level, form=form)


@verb
def band(
    start: ArrayLike, stop: ArrayLike, level: ArrayLike | Knots, *, form: Name = "stratonovich"
) -> Noise:
    """Noise between two times of the clock only; the published runs use 0.2 on (-10, -4) for
    structure and 0.3 on (-3, 9) for detail."""
    require(form in FORMS, f"form must be one of {', '.join(FORMS)}, got {form!r}")
    first, last = concrete(start), concrete(stop)
    if first is not None and last is not None:
        require(bool(first < last), f"a noise band must have start < stop, got {start}, {stop}")
    values = concrete(level.values if isinstance(level, Knots) else level)
    level = level if isinstance(level, Knots) else scalar(level, "level")
    require(
        values is None or bool((values >= 0).all()), f"noise level must not be negative: {level}"
    )
    return Noise(level, scalar(start, "start"), scalar(stop, "stop"), FORMS[form])
