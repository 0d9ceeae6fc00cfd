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

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.errors import concrete, number, require, scalar
from densityguide.knots import Knots

__all__ = ["Form", "Noise", "band", "constant"]

Form = Literal["stratonovich", "ito", "ito_probe", "ito_published"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noise:
    """Noise level over the clock: ``level`` (a number or `knots`) between ``start`` and
    ``stop``, zero elsewhere. The numbers are traced, ``form`` is static."""

    level: Any
    start: Array
    stop: Array
    form: Form = field(default="stratonovich", metadata={"static": True})

    @property
    def values(self) -> Array:
        """The level, or its knots' values."""
        return self.level.values if isinstance(self.level, Knots) else self.level

    def __call__(self, t: Array) -> Array:
        level = self.level(t) if isinstance(self.level, Knots) else self.level
        return jnp.where((t >= self.start) & (t <= self.stop), level, 0.0)


def constant(level: ArrayLike | Knots, *, form: Form = "stratonovich") -> Noise:
    """The same relative level throughout, or `knots` over the clock."""
    return band(-jnp.inf, jnp.inf, level, form=form)


def band(
    start: ArrayLike, stop: ArrayLike, level: ArrayLike | Knots, *, form: Form = "stratonovich"
) -> Noise:
    """Noise between two times of the clock only; the published runs use 0.2 on (-10, -4) for
    structure and 0.3 on (-3, 9) for detail."""
    known = get_args(Form)
    require(form in known, f"form must be one of {', '.join(known)}, got {form!r}")
    first, last = concrete(start), concrete(stop)
    if first is not None and last is not None:
        require(bool(first < last), f"a noise band must have start < stop, got {start}, {stop}")
    values = concrete(level.values if isinstance(level, Knots) else level)
    level = level if isinstance(level, Knots) else scalar(level, "level")
    require(
        values is None or bool((values >= 0).all()), f"noise level must not be negative: {level}"
    )
    return Noise(level, number(start, "start"), number(stop, "stop"), form)
