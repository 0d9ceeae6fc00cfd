"""Networks (flax), their weights and model cards, shipped models, and models of diffusers."""

from densityguide.models.azula import from_azula
from densityguide.models.diffusers import from_diffusers, image_decoder
from densityguide.models.dit import DiT
from densityguide.models.edm2 import EDM2
from densityguide.models.edm2_load import from_edm2, save_edm2
from densityguide.models.load import load
from densityguide.models.mlp import MLP
from densityguide.models.pretrained import names
from densityguide.models.torch_weights import from_torch
from densityguide.models.unet import UNet

__all__ = ["EDM2", "MLP", "DiT", "UNet", "from_azula", "from_diffusers", "from_edm2", "from_torch"]
__all__ += ["image_decoder", "load", "names", "save_edm2"]
