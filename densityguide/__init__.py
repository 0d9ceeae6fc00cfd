"""densityguide: log-density as a dial for diffusion, flow matching and any CNF, in JAX."""

__version__ = "0.2.0.dev0"

import importlib
from typing import Any

from densityguide import models, parallel, spacetime, xla
from densityguide.density.bits import BitsPerDim, bits_per_dim, nats
from densityguide.density.correction import Correction
from densityguide.density.derive_score import derive_score
from densityguide.density.elbo import Elbo, elbo
from densityguide.density.log_density import LogDensity, log_density
from densityguide.density.sde import SdeSample, sample_sde, track_sde
from densityguide.density.trace import Trace, divergence, exact, hutchinson, orthogonal
from densityguide.flow import clocks, paths, predictions, priors, spaces, worlds
from densityguide.flow.build import cnf, diffusion
from densityguide.flow.classifier_free import classifier_free
from densityguide.flow.flow import Calibration, Flow
from densityguide.flow.networks import edm
from densityguide.solve import Status, grids
from densityguide.solve.adams import Adams
from densityguide.spacetime import Geodesic, geodesic
from densityguide.steer import along, noise
from densityguide.steer.alignment import ScoreAlignment, score_alignment
from densityguide.steer.calibrate import calibrate
from densityguide.steer.edit import Edit, edit
from densityguide.steer.guidance import Guidance
from densityguide.steer.high_density import high_density
from densityguide.steer.interpolate import Interpolation, interpolate
from densityguide.steer.knots import Knots, knots
from densityguide.steer.land import land, match_log_density
from densityguide.steer.landing import Landing
from densityguide.steer.mode import Mode, track_mode
from densityguide.steer.monotone import Monotone, monotone_range
from densityguide.steer.rescale import rescale
from densityguide.steer.rules import (
    budget,
    calibrated,
    pinned,
    quantile,
    rate,
    schedule,
    target,
)
from densityguide.steer.sample import Sample, latent, sample
from densityguide.verify import Verification, verify
from densityguide.verify.alignment_report import AlignmentReport, alignment_report
from densityguide.verify.cost import Cost, cost
from densityguide.verify.fit_correction import fit_correction
from densityguide.verify.steps_for import steps_for

# Loaded when asked for: they bring packages that sampling does not need.
_LAZY = {
    "data": "densityguide.data",
    "jobs": "densityguide.app.jobs",
    "plotting": "densityguide.plotting",
    "training": "densityguide.training",
}

__all__ = [
    "Adams",
    "AlignmentReport",
    "BitsPerDim",
    "Calibration",
    "Correction",
    "Cost",
    "Edit",
    "Elbo",
    "Flow",
    "Geodesic",
    "Guidance",
    "Interpolation",
    "Knots",
    "Landing",
    "LogDensity",
    "Mode",
    "Monotone",
    "Sample",
    "ScoreAlignment",
    "SdeSample",
    "Status",
    "Trace",
    "Verification",
    "alignment_report",
    "along",
    "bits_per_dim",
    "budget",
    "calibrate",
    "calibrated",
    "classifier_free",
    "clocks",
    "cnf",
    "cost",
    "derive_score",
    "diffusion",
    "divergence",
    "edit",
    "edm",
    "elbo",
    "exact",
    "fit_correction",
    "geodesic",
    "grids",
    "high_density",
    "hutchinson",
    "interpolate",
    "knots",
    "land",
    "latent",
    "log_density",
    "match_log_density",
    "models",
    "monotone_range",
    "nats",
    "noise",
    "orthogonal",
    "parallel",
    "paths",
    "pinned",
    "predictions",
    "priors",
    "quantile",
    "rate",
    "rescale",
    "sample",
    "sample_sde",
    "schedule",
    "score_alignment",
    "spaces",
    "spacetime",
    "steps_for",
    "target",
    "track_mode",
    "track_sde",
    "verify",
    "worlds",
    "xla",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'densityguide' has no attribute {name!r}")
    return importlib.import_module(_LAZY[name])


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
