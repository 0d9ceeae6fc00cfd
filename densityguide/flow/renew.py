"""What belongs to a replaced part of a flow is derived anew, or the replacement is refused."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from densityguide.checks import require, shape_of
from densityguide.flow import conditions, priors, spaces, units
from densityguide.flow.intervals import interval_of, log_snr_of, same

__all__ = ["interval_for", "placed", "shape_for", "uncalibrated", "with_prior"]


def interval_for(flow: Any, interval: Any) -> tuple[Any, Any]:
    """Another interval of the flow, checked."""
    if flow.path is None:
        return interval_of(interval, "interval")
    return log_snr_of(interval, "interval", flow.path)


def shape_for(flow: Any, shape: Any) -> tuple[int, ...]:
    """Another shape of the flow, checked."""
    shape = shape_of(shape, "shape")
    require(
        flow.density is None or shape == flow.shape,
        f"the shape of a world is that of its means, {flow.shape}: build the world anew",
    )
    return shape


def placed(flow: Any, standardise: Any, moved: bool) -> Any:
    """``flow`` with its space and shape checked where they ``moved``, and in these units."""
    if moved:
        spaces.check(flow.space, flow.shape, on_path=flow.path is not None)
        require(
            flow.space is None or flow.density is None,
            "a world lives in all of R^D: take a network for a flow on a space",
        )
    given = units.check(standardise, flow.shape, flow.space)
    return dataclasses.replace(flow, units=given)


def with_prior(flow: Any, old: Any, prior: Any, kept: bool) -> Any:
    """``flow``, made of ``old``, with the prior given, derived anew, or ``kept`` where it still
    fits."""
    if not (kept and same(flow.interval[0], old.interval[0])):
        conditions.check_bound(flow.params)
    if not kept:
        prior = priors.check(priors.on(prior, flow.space), flow.shape)
        return dataclasses.replace(flow, prior=prior, prior_from=None)
    sources = (flow.params, flow.interval, flow.shape, flow.space)
    before = (old.params, old.interval, old.shape, old.space)
    if all(a is b for a, b in zip(sources, before, strict=True)):
        return flow
    if flow.prior_from is not None:
        return dataclasses.replace(flow, prior=flow.prior_from(flow))
    require(
        same(flow.interval[0], old.interval[0]),
        "this flow's prior was given, not derived, and another start needs another one: pass "
        "prior= too, or cut a part out by flow.between(start, stop)",
    )
    if flow.space is not old.space:
        flow = dataclasses.replace(flow, prior=priors.on(flow.prior, flow.space))
    if flow.shape != old.shape:
        priors.check(flow.prior, flow.shape)
    return flow


def uncalibrated(flow: Any, changed: list[str], level: int = 4) -> Any:
    """Without the calibration, if it belonged to something that has changed."""
    if not changed or (flow.calibration is None and flow.calibrations is None):
        return flow
    warnings.warn(
        f"the flow's calibration belongs to its old {' and '.join(changed)} and is dropped: "
        "calibrate again, or pass calibration=",
        stacklevel=level,
    )
    return dataclasses.replace(flow, calibration=None, calibrations=None)
