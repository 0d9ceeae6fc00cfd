"""Long jobs in shards: sampling, log-density of a data set, alignment; resumed, not repeated."""

from densityguide.jobs.config import (
    Alignment,
    Density,
    Guidance,
    Job,
    Noise,
    Output,
    Sampling,
    Solve,
    read,
)
from densityguide.jobs.hosts import Hosts, join
from densityguide.jobs.run import run

__all__ = [
    "Alignment",
    "Density",
    "Guidance",
    "Hosts",
    "Job",
    "Noise",
    "Output",
    "Sampling",
    "Solve",
    "join",
    "read",
    "run",
]
