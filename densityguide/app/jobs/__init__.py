"""Long jobs in shards: sampling, log-density of a data set, alignment; resumed, not repeated."""

from densityguide.app.jobs.config import (
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
from densityguide.app.jobs.engines import Done
from densityguide.app.jobs.hosts import Hosts, join
from densityguide.app.jobs.progress import logged
from densityguide.app.jobs.ray_tasks import on_ray
from densityguide.app.jobs.run import run
from densityguide.app.jobs.view import Results, open

__all__ = [
    "Alignment",
    "Density",
    "Done",
    "Guidance",
    "Hosts",
    "Job",
    "Noise",
    "Output",
    "Results",
    "Sampling",
    "Solve",
    "join",
    "logged",
    "on_ray",
    "open",
    "read",
    "run",
]
