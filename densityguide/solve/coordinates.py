"""Solving every Gaussian path in variance-preserving coordinates.

All Gaussian paths are one path up to a scale: with ``c = sqrt(alpha^2 + sigma^2)``, ``x / c``
follows the variance-preserving path in the same log-SNR. A solver's error depends on the
coordinates (on the variance-exploding path most of it goes into following the shrinking scale), so
solves run in ``x / c``, and the same steps are as accurate on every path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import present
from densityguide.flow.paths import Path

__all__ = ["Coordinates"]


class Coordinates(NamedTuple):
    """``kinds`` marks the leaves of a solver's state: "state" leaves scale with x, "nats" do
    not. ``path`` None means no change of coordinates; then ``interval``, prior end first, tells
    the error bar which way the data lie."""

    path: Path | None
    kinds: Any
    interval: tuple[Array, Array] | None = None

    def _log_scale(self, t: Array) -> Array:
        path = present(self.path)
        return 0.5 * jnp.logaddexp(2.0 * path.log_alpha(t), 2.0 * path.log_sigma(t))

    @property
    def trivial(self) -> bool:
        return self.path is None or self.path.preserves_variance

    @property
    def log_linear(self) -> Callable[[Array], Array] | None:
        """Log of the factor by which the linear part alone, ``-alpha^2 / 2 x``, scales x / c: its
        own log sigma. None without a path."""
        return None if self.path is None else (lambda t: -0.5 * jax.nn.softplus(t))

    def linear(self, t: Array) -> Array:
        """The linear part's rate, ``-alpha^2 / 2`` of the variance-preserving path, or 0."""
        return jnp.zeros_like(t) if self.path is None else -0.5 * jax.nn.sigmoid(t)

    def _scaled(self, y: Any, factor: Array) -> Any:
        return jax.tree.map(lambda a, kind: a * factor if kind == "state" else a, y, self.kinds)

    def enter(self, y: Any, t: Array) -> Any:
        """x to x / c."""
        return y if self.trivial else self._scaled(y, jnp.exp(-self._log_scale(t)))

    def leave(self, y: Any, t: Array) -> Any:
        """x / c to x."""
        return y if self.trivial else self._scaled(y, jnp.exp(self._log_scale(t)))

    def change(self, moved: Any, y: Any, t: Array, dt: Array | float) -> Any:
        """The rate of y = x / c (with ``dt`` its increment) that belongs to ``moved``, that of x:
        ``dy = dx / c - (log c)' y dt``."""
        log_scale, rate = jax.jvp(self._log_scale, (t,), (jnp.ones_like(t),))
        shrink = jnp.exp(-log_scale)

        def one(d: Array, a: Array, kind: str) -> Array:
            return d * shrink - rate * dt * a if kind == "state" else d

        return jax.tree.map(one, moved, y, self.kinds)

    def field(self, field: Callable[..., Any]) -> Callable[..., Any]:
        """The vector field in these coordinates."""
        if self.trivial:
            return field
        return lambda t, y, drawn: self.change(field(t, self.leave(y, t), drawn), y, t, 1.0)

    def increment(self, increment: Callable[..., Any]) -> Callable[..., Any]:
        """The increment of an SDE in these coordinates."""
        if self.trivial:
            return increment

        def moved(t: Array, y: Any, drawn: Any, dt: Array, dw: Array) -> Any:
            return self.change(increment(t, self.leave(y, t), drawn, dt, dw), y, t, dt)

        return moved
