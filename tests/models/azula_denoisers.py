"""Small denoisers of azula's own classes, with random weights: ``(denoiser, shape, condition)``."""

import sys
from types import ModuleType
from unittest import mock

import diffusers
import tiny_pipelines
import torch
from azula import denoise, noise
from azula.guidance import cfg
from azula.nn import dit, unet, vit
from azula.plugins import adm, edm, eldm, flux, jit, sana, sd
from azula.plugins.adm._src.unet import UNetModel
from azula.plugins.jit._src.model import JiT
from torch import nn

# It reads pictures with torchvision, which must be of the very build of torch: not needed here.
READERS = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
with mock.patch.dict(sys.modules, {name: ModuleType(name) for name in READERS}):
    from azula.plugins import vdm

torch.set_num_threads(1)
WIDTH, TOKENS = 8, 3


class Timed(nn.Module):
    """Of azula's own networks, which take a vector and no time; a class adds to the vector."""

    def __init__(self, network):
        super().__init__()
        self.network, self.table = network, nn.Linear(5, WIDTH)

    def forward(self, x, t, class_labels=None):
        vector = torch.stack([torch.sin(t), torch.cos(t)], dim=-1).repeat(1, WIDTH // 2)
        vector = vector if class_labels is None else vector + self.table(class_labels)
        return self.network(x, vector)


def _unet():
    return Timed(unet.UNet(2, 2, mod_features=WIDTH, hid_channels=(4, 8), hid_blocks=(1, 1)))


def _vit():
    width = {"mod_features": WIDTH, "hid_channels": 16, "hid_blocks": 1}
    return Timed(vit.ViT(2, 2, patch_size=2, attention_heads=2, **width))


def _dit():
    width = {"mod_features": WIDTH, "hid_channels": 16, "hid_blocks": 1}
    return Timed(dit.DiT(3, 3, attention_heads=2, **width))


def _adm(**more):
    network = UNetModel(8, 3, 32, 6, 1, {2}, channel_mult=(1, 2), num_classes=5)
    return adm.AblatedDenoiser(network, learn_var=True, **more)


def _jit():
    network = JiT(
        input_size=8,
        patch_size=4,
        hidden_size=16,
        depth=2,
        num_heads=2,
        num_classes=5,
        bottleneck_dim=8,
        in_context_len=2,
        in_context_start=1,
    )
    return jit.JITDenoiser(network, num_classes=5)


def _sd():
    network = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 4),
    )
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    sigmas = torch.sqrt(1.0 - torch.cumprod(1.0 - betas, dim=0))
    return sd.StableDenoiser(network, sigmas, prediction="velocity")


def _flux():
    return flux.FluxDenoiser(tiny_pipelines.flux_network(joint=WIDTH, pooled=WIDTH))


def _sana():
    network = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=WIDTH,
        sample_size=8,
    )
    return sana.SanaDenoiser(network)


def _words(*shape):
    return torch.randn(*shape).numpy()


def _label(n=2):
    return torch.eye(5)[n].numpy()


MADE = {
    "simple-unet": lambda: (
        denoise.SimpleDenoiser(_unet(), noise.CosineSchedule()),
        (8, 8, 2),
        None,
    ),
    "karras-vit": lambda: (denoise.KarrasDenoiser(_vit(), noise.VESchedule()), (8, 8, 2), None),
    "karras-dit": lambda: (denoise.KarrasDenoiser(_dit(), noise.DecaySchedule()), (6, 3), None),
    "velocity": lambda: (vdm.VelocityDenoiser(_unet()), (8, 8, 2), None),
    "adm": lambda: (_adm(), (8, 8, 3), {"label": 3}),
    "edm": lambda: (edm.ElucidatedDenoiser(_unet()), (8, 8, 2), {"label": _label()}),
    "edm2": lambda: (eldm.ElucidatedLatentDenoiser(_vit()), (8, 8, 2), {"label": _label()}),
    "jit": lambda: (_jit(), (8, 8, 3), {"label": 3}),
    "sd": lambda: (_sd(), (8, 8, 4), {"prompt_embeds": _words(TOKENS, WIDTH)}),
    "flux": lambda: (
        _flux(),
        (4, 2, 16),
        {"prompt_clip": _words(WIDTH), "prompt_t5": _words(TOKENS, WIDTH), "guidance": 3.5},
    ),
    "sana": lambda: (
        _sana(),
        (8, 8, 4),
        {"prompt_embeds": _words(TOKENS, WIDTH), "prompt_mask": torch.ones(TOKENS).numpy()},
    ),
    "guided": lambda: (
        cfg.CFGDenoiser(edm.ElucidatedDenoiser(_unet())),
        (8, 8, 2),
        {"positive": {"label": _label(1)}, "negative": {"label": _label(4)}, "guidance": 2.0},
    ),
}


def make(name):
    """Zero-initialised layers would hide what feeds them."""
    torch.manual_seed(0)
    denoiser, shape, condition = MADE[name]()
    with torch.no_grad():
        for value in denoiser.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return denoiser.eval(), shape, condition
