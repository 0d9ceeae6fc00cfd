"""Training of denoising networks."""

from densityguide.disk.interrupts import Stop
from densityguide.training.config import Config, from_dict, read
from densityguide.training.export import export
from densityguide.training.trainer import train

__all__ = ["Config", "Stop", "export", "from_dict", "read", "train"]
