"""Networks (flax), their weights and model cards, shipped models."""

from densityguide.models.load import load
from densityguide.models.mlp import MLP
from densityguide.models.pretrained import names
from densityguide.models.unet import UNet

__all__ = ["MLP", "UNet", "load", "names"]
