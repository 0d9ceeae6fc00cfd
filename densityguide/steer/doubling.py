"""The score counted twice: everywhere, or from a log-SNR on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import present
from densityguide.steer.guidance import Guidance, Moment, Needs
from densityguide.steer.rules import DEFAULT_CAP

__all__ = ["doubled", "doubled_from"]

RAMP = 0.5  # log-SNR within which the score comes to count twice


def _rate(_: Any, moment: Moment) -> Array:
    return 0.5 * present(moment.flow.path).sigma(moment.t) ** 2 * moment.score_power


def _rate_from(switch: Array, moment: Moment) -> Array:
    return jax.nn.sigmoid((moment.t - switch) / RAMP) * _rate((), moment)


def doubled() -> Guidance:
    """The score counted twice: ``c = sigma^2 |s|^2 / 2``."""
    return Guidance((), jnp.asarray(DEFAULT_CAP), _rate, Needs(path=True), name="high density")


def doubled_from(switch: Array) -> Guidance:
    """The same from a log-SNR on, softly, so that any grid will do."""
    cap, needs = jnp.asarray(DEFAULT_CAP), Needs(path=True)
    return Guidance(switch, cap, _rate_from, needs, name="high density")
