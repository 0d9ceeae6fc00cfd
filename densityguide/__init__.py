"""densityguide: log-density as a dial for diffusion, flow matching and any CNF, in JAX."""

__version__ = "0.1.0"

from densityguide import clocks, grids, models, noise, paths, predictions, priors, worlds
from densityguide.alignment import ScoreAlignment, score_alignment
from densityguide.divergence import Trace, divergence, exact, hutchinson, orthogonal
from densityguide.flows import Calibration, Flow, cnf, diffusion
from densityguide.guidance import (
    Guidance,
    budget,
    calibrated,
    pinned,
    quantile,
    rate,
    schedule,
    target,
)
from densityguide.knots import Knots, knots
from densityguide.likelihood import BitsPerDim, LogDensity, bits_per_dim, log_density
from densityguide.sampling import Sample, latent, rescale, sample
from densityguide.solve import Status

__all__ = [
    "BitsPerDim",
    "Calibration",
    "Flow",
    "Guidance",
    "Knots",
    "LogDensity",
    "Sample",
    "ScoreAlignment",
    "Status",
    "Trace",
    "bits_per_dim",
    "budget",
    "calibrated",
    "clocks",
    "cnf",
    "diffusion",
    "divergence",
    "exact",
    "grids",
    "hutchinson",
    "knots",
    "latent",
    "log_density",
    "models",
    "noise",
    "orthogonal",
    "paths",
    "pinned",
    "predictions",
    "priors",
    "quantile",
    "rate",
    "rescale",
    "sample",
    "schedule",
    "score_alignment",
    "target",
    "worlds",
]
