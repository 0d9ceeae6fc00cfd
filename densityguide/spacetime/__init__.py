"""The geometry of denoising: noisy states as points of a statistical manifold.

A state at a noise level names the distribution of the data that it may have come from. Those
distributions form an exponential family whose Fisher-Rao geometry needs no simulation:
divergences, lengths and short curves follow from denoised means and one trace a point
(Karczewski et al., "Spacetime of diffusion models", ICLR 2026, arXiv 2505.17517, called [ST] here).
"""

from densityguide.spacetime.constraints import Constraint, avoid, hold, near, schedule
from densityguide.spacetime.divergence import Divergence, Information, divergence, information
from densityguide.spacetime.energy import Energy, curve_energy
from densityguide.spacetime.frames import Frames, frames
from densityguide.spacetime.geodesic import Geodesic, arc, geodesic
from densityguide.spacetime.hyperbolic import gaussian_distance
from densityguide.spacetime.metric import metric
from densityguide.spacetime.point import Point, point

__all__ = [
    "Constraint",
    "Divergence",
    "Energy",
    "Frames",
    "Geodesic",
    "Information",
    "Point",
    "arc",
    "avoid",
    "curve_energy",
    "divergence",
    "frames",
    "gaussian_distance",
    "geodesic",
    "hold",
    "information",
    "metric",
    "near",
    "point",
    "schedule",
]
