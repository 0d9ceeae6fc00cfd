"""What the scheduler's config of a diffusers folder says of how the network was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from densityguide.checks import require
from densityguide.flow import clocks, paths
from densityguide.flow.predictions import Prediction
from densityguide.models.diffusers_load import engine

__all__ = ["Schedule", "schedule_of"]

PREDICTIONS: dict[Any, Prediction] = {
    "epsilon": "noise",
    "v_prediction": "v",
    "sample": "data",
}


class Schedule(NamedTuple):
    """Path, clock, prediction and range; ``steps`` is the scheduler's time per unit of the
    clock."""

    path: paths.Path
    clock: Callable[[Array], Array]
    prediction: Prediction
    log_snr: tuple[float, float]
    steps: float


def schedule_of(config: dict[str, Any], folder: Path) -> Schedule:
    """ValueError for a scheduler that stands for no Gaussian path known here.

    The ``shift`` of flow matching is a choice of steps, not of the network's time: the network is
    told the noise level that it gets, sigma, in steps."""
    name = str(config.get("_class_name"))
    scheduler: Any = getattr(engine().diffusers, name, None)
    known = name.startswith("FlowMatch") or ("beta_schedule" in config)
    require(
        scheduler is not None and known and config.get("timestep_type") != "continuous",
        f"unknown scheduler {name!r} in {folder}: expected one with betas (DDPMScheduler and its "
        "kin) or of flow matching; for others use densityguide.diffusion",
    )
    if name.startswith("FlowMatch"):
        steps = float(config.get("num_train_timesteps", 1000))
        clock = clocks.reversed_flow_time
        return Schedule(paths.linear(), clock, "velocity", (-10.0, 10.0), steps)
    kind = config.get("prediction_type", "epsilon")
    require(
        kind in PREDICTIONS,
        f"unknown prediction_type {kind!r} in {folder}: expected one of {', '.join(PREDICTIONS)}",
    )
    try:
        betas = np.asarray(scheduler.from_config(config).betas.double())
    except Exception as error:  # whatever a scheduler of impossible numbers raises
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"the scheduler in {folder} is damaged ({words}): copy it again") from None
    table = clocks.ddpm_log_snr(betas)
    ends = (float(table[-1]), float(table[0]))
    path = paths.variance_preserving()
    return Schedule(path, clocks.ddpm(betas), PREDICTIONS[kind], ends, 1.0)
