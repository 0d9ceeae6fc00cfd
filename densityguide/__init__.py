"""densityguide: log-density as a dial for diffusion, flow matching and any CNF, in JAX."""

__version__ = "0.1.0"

from densityguide import clocks, grids, models, noise, parallel, paths, predictions, priors, worlds
from densityguide.alignment import ScoreAlignment, score_alignment
from densityguide.calibration import calibrate
from densityguide.classifier_free import classifier_free
from densityguide.cost import Cost, cost
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
from densityguide.high_density import Mode, high_density, track_mode
from densityguide.knots import Knots, knots
from densityguide.likelihood import BitsPerDim, LogDensity, bits_per_dim, log_density
from densityguide.matching import Match, match_log_density
from densityguide.multistep import Adams
from densityguide.networks import edm
from densityguide.reports import AlignmentReport, alignment_report
from densityguide.rescaling import rescale
from densityguide.sampling import Sample, latent, sample
from densityguide.sde import Elbo, SdeSample, elbo, sample_sde, track_sde
from densityguide.solve import Status
from densityguide.verify import Verification, verify

__all__ = [
    "Adams",
    "AlignmentReport",
    "BitsPerDim",
    "Calibration",
    "Cost",
    "Elbo",
    "Flow",
    "Guidance",
    "Knots",
    "LogDensity",
    "Match",
    "Mode",
    "Sample",
    "ScoreAlignment",
    "SdeSample",
    "Status",
    "Trace",
    "Verification",
    "alignment_report",
    "bits_per_dim",
    "budget",
    "calibrate",
    "calibrated",
    "classifier_free",
    "clocks",
    "cnf",
    "cost",
    "diffusion",
    "divergence",
    "edm",
    "elbo",
    "exact",
    "grids",
    "high_density",
    "hutchinson",
    "knots",
    "latent",
    "log_density",
    "match_log_density",
    "models",
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
    "target",
    "track_mode",
    "track_sde",
    "verify",
    "worlds",
]
