"""The noise schedules of azula as paths and clocks.

A schedule gives alpha and sigma at a time t in [0, 1], data at 0. Here both are functions of the
log-SNR, with ``q = exp(-log_snr / 2) = sigma / alpha``, ``a`` the schedule's ``alpha_min`` and
``s`` its ``sigma_min``:

=====================  ============================  ==========================================
schedule               alpha                         t
=====================  ============================  ==========================================
VE                     1                             log(q / s) / log(sigma_max / s)
EDM (`edm` plugin)     1                             (q^(1/rho) - s^(1/rho)) / (...)
VP                     sqrt((1 + s^2) / (1 + q^2))   sqrt(log(alpha) / log(a))
cosine                 the same                      arccos(alpha) / arccos(a)
rectified              (1 - a s) / (1 - s +          tau = (q - s) / (1 - s + (1 - a) q)
                       (1 - a) q)
decay                  the same                      log(1 - (1 - gamma) tau) / log(gamma)
=====================  ============================  ==========================================

The forms below are the same ones without cancellation in float32 at the data end, where q is s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import acos, log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import require
from densityguide.flow import paths

__all__ = ["NAMES", "Schedule", "schedule_of"]

LEAST = 1e-30  # under a root, whose slope at 0 has no number


class Schedule(NamedTuple):
    """Path, clock and range of a schedule of azula."""

    path: paths.Path
    clock: Callable[[Array], Array]
    log_snr: tuple[float, float]


@dataclass(frozen=True)
class _Vp:
    """Logarithm of alpha (sign 1) or sigma (sign -1), ``alpha^2 + sigma^2 = 1 + s^2``."""

    least: float  # s
    sign: int

    def __call__(self, log_snr: Array) -> Array:
        return 0.5 * (np.log1p(self.least**2) + jax.nn.log_sigmoid(self.sign * log_snr))


@dataclass(frozen=True)
class _Line:
    """Logarithm of alpha (share 0) or sigma (share 1) on a straight line between two levels."""

    last: float  # a
    least: float  # s
    share: float

    def __call__(self, log_snr: Array) -> Array:
        log_q = -0.5 * log_snr
        below = jnp.logaddexp(np.log1p(-self.least), log_q + np.log1p(-self.last))
        return np.log1p(-self.last * self.least) - below + self.share * log_q


@dataclass(frozen=True)
class _Time:
    """The schedule's t of a log-SNR; ``numbers`` are what the schedule is made of."""

    name: str
    numbers: tuple[float, ...]

    def __call__(self, log_snr: Array) -> Array:
        return TIMES[self.name](log_snr, *self.numbers)


def _excess(log_snr: Array, least: float) -> Array:
    """``q^2 - s^2``."""
    return jnp.maximum(least**2 * jnp.expm1(-log_snr - 2.0 * log(least)), LEAST)


def _ve_time(log_snr: Array, least: float, greatest: float) -> Array:
    return (-0.5 * log_snr - log(least)) / log(greatest / least)


def _edm_time(log_snr: Array, least: float, greatest: float, rho: float) -> Array:
    low, high = least ** (1.0 / rho), greatest ** (1.0 / rho)
    return (jnp.exp(-0.5 * log_snr / rho) - low) / (high - low)


def _vp_time(log_snr: Array, last: float, least: float) -> Array:
    below = jnp.log1p(_excess(log_snr, least) / (1.0 + least**2))  # -2 log alpha
    return jnp.sqrt(below / (-2.0 * log(last)))


def _cosine_time(log_snr: Array, last: float, least: float) -> Array:
    tangent = jnp.sqrt(_excess(log_snr, least) / (1.0 + least**2))
    return jnp.arctan(tangent) / acos(last)


def _line_time(log_snr: Array, last: float, least: float) -> Array:
    risen = least * jnp.expm1(-0.5 * log_snr - log(least))  # q - s
    return risen / (1.0 - least + (1.0 - last) * (risen + least))


def _decay_time(log_snr: Array, last: float, least: float, gamma: float) -> Array:
    return jnp.log1p(-(1.0 - gamma) * _line_time(log_snr, last, least)) / log(gamma)


# Names of azula's classes, and of the numbers that they keep.
TIMES: dict[str, Callable[..., Array]] = {
    "VESchedule": _ve_time,
    "ElucidatedSchedule": _edm_time,
    "VPSchedule": _vp_time,
    "CosineSchedule": _cosine_time,
    "RectifiedSchedule": _line_time,
    "DecaySchedule": _decay_time,
}
NUMBERS = {
    "VESchedule": ("sigma_min", "sigma_max"),
    "ElucidatedSchedule": ("sigma_min", "sigma_max", "rho"),
    "DecaySchedule": ("alpha_min", "sigma_min", "gamma"),
}
NAMES = tuple(TIMES)


def schedule_of(schedule: Any) -> Schedule:
    """ValueError for a schedule that is not one of azula's own."""
    name = type(schedule).__name__
    require(
        name in TIMES,
        f"unknown schedule {name} of azula, expected one of {', '.join(NAMES)}: give the denoiser "
        "one of these, or write its path and clock and call densityguide.diffusion",
    )
    kept = NUMBERS.get(name, ("alpha_min", "sigma_min"))
    numbers = tuple(float(getattr(schedule, number)) for number in kept)
    least = float(schedule.sigma_min)
    require(
        all(number > 0.0 for number in numbers),
        f"the numbers of {name} must be positive, got {dict(zip(kept, numbers, strict=True))}: "
        "at sigma_min = 0 the log-SNR has no end",
    )
    path = _path(name, least, numbers)
    if kept[0] == "alpha_min":
        # At t = 1 sigma is 1 for a line; for the others the root of 1 - a^2 + s^2.
        last = numbers[0]
        line = name in ("RectifiedSchedule", "DecaySchedule")
        end = 1.0 if line else (1.0 - last**2 + least**2) ** 0.5
        return Schedule(path, _Time(name, numbers), (2.0 * log(last / end), -2.0 * log(least)))
    ends = (-2.0 * log(float(schedule.sigma_max)), -2.0 * log(least))
    return Schedule(path, _Time(name, numbers), ends)


def _path(name: str, least: float, numbers: tuple[float, ...]) -> paths.Path:
    end = -2.0 * log(least)
    if name in ("VPSchedule", "CosineSchedule"):
        return paths.custom(_Vp(least, 1), _Vp(least, -1), name=name, greatest=end)
    if name in ("RectifiedSchedule", "DecaySchedule"):
        lines = (_Line(numbers[0], least, share) for share in (0.0, 1.0))
        return paths.custom(*lines, name=name, greatest=end)
    return paths.variance_exploding()
