"""Networks (flax), their weights and model cards, shipped models, and models of diffusers."""

from densityguide.models.azula import from_azula
from densityguide.models.diffusers import from_diffusers, image_decoder
from densityguide.models.dit import DiT
from densityguide.models.load import load
from densityguide.models.mlp import MLP
from densityguide.models.pretrained import names
from densityguide.models.torch_weights import from_torch
from densityguide.models.unet import UNet

__all__ = ["MLP", "DiT", "UNet", "from_azula", "from_diffusers", "from_torch", "image_decoder"]
__all__ += ["load", "names"]
