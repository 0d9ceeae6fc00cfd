"""What natural samples do along the clock, measured and kept with the flow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from jax import Array

from densityguide.checks import concrete, require

__all__ = ["Calibration", "checked", "spans"]


class Calibration(NamedTuple):
    """What natural samples do along the clock; see ``densityguide.calibrate``.

    ``times`` [n] rising; ``log_density`` [n] mean log p of the base flow in nats;
    ``spread`` [n] standard deviation of ``h = sigma^2 (laplacian + |s|^2) / sqrt(2 D)``; ``dial``
    [2], where it was measured, the lowest and highest q of ``densityguide.quantile`` between which
    the flow's own log p rises with q, see ``densityguide.monotone_range``.
    """

    times: Array
    log_density: Array
    spread: Array
    dial: Array | None = None


def checked(calibration: Any) -> Calibration | None:
    """The calibration itself; ValueError unless it is one, or None."""
    require(
        calibration is None or isinstance(calibration, Calibration),
        f"calibration must be a Calibration or None, got {type(calibration).__name__}: see "
        "densityguide.calibrate",
    )
    return calibration


def spans(calibrations: Iterable[Calibration | None], interval: tuple[Array, Array]) -> bool:
    """Whether each calibration covers a flow's clock, as far as both are known; stacked ones share
    their times."""
    return all(_spans(each.times, interval) for each in calibrations if each is not None)


def _spans(times: Array, interval: tuple[Array, Array]) -> bool:
    times = times[0] if times.ndim == 2 else times
    ends = [concrete(end) for end in (*interval, times[0], times[-1])]
    known = [float(end) for end in ends if end is not None and not end.ndim]
    if len(known) < 4:
        return True
    start, stop, first, last = known
    slack = 1e-4 * abs(last - first)
    return (
        min(start, stop) >= min(first, last) - slack
        and max(start, stop) <= max(first, last) + slack
    )
