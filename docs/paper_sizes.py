"""Prints the table of sizes in guides/diffusers.md: parameters and operations of the published
architectures, counted by PyTorch on shapes alone. Needs the extra ``diffusers``; no weights.

Configurations: the files config.json of stabilityai/stable-diffusion-2-1,
stable-diffusion-xl-base-1.0 and stable-diffusion-3-medium; FLUX.1-dev is diffusers' default.
"""

import diffusers
import torch
from torch.utils.flop_counter import FlopCounterMode

STEPS, SOLVES, PROBES = 64, 2, 2  # log p is measured by a second solve
TANGENT = (1.05, 1.3)  # cost of one, in evaluations: counted in scale.md
CHIP = (
    0.3 * 67e12,
    0.6 * 67e12,
)  # operations a second of an H100 in float32, 30 to 60 % of its peak


def shapes(*size):
    return torch.zeros(size, device="meta")


def unet(cross, **more):
    return diffusers.UNet2DConditionModel(
        cross_attention_dim=cross, use_linear_projection=True, **more
    )


def sd21():
    return unet(1024, block_out_channels=(320, 640, 1280, 1280), attention_head_dim=(5, 10, 20, 20))


def xl():
    return unet(
        2048,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 10],
        attention_head_dim=[5, 10, 20],
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def sd3():
    return diffusers.SD3Transformer2DModel(
        num_layers=24,
        num_attention_heads=24,
        joint_attention_dim=4096,
        caption_projection_dim=1536,
        pooled_projection_dim=2048,
        out_channels=16,
        pos_embed_max_size=192,
    )


def flux():
    return diffusers.FluxTransformer2DModel(guidance_embeds=True)


def text(tokens, width, pooled=0):
    more = {"pooled_projections": shapes(1, pooled)} if pooled else {}
    return {"encoder_hidden_states": shapes(1, tokens, width), "timestep": shapes(1), **more}


SIZES = {"text_embeds": shapes(1, 1280), "time_ids": shapes(1, 6)}
PLACES = {"img_ids": shapes(4096, 3), "txt_ids": shapes(512, 3), "guidance": shapes(1)}
# Network, input, what it is told, dimensions of a latent, evaluations of guidance.
CASES = {
    "SD 2.1, 768 px": (sd21, shapes(1, 4, 96, 96), text(77, 1024), 4 * 96**2, 2),
    "SD XL, 1024 px": (
        xl,
        shapes(1, 4, 128, 128),
        {**text(77, 2048), "added_cond_kwargs": SIZES},
        4 * 128**2,
        2,
    ),
    "SD 3 medium, 1024 px": (
        sd3,
        shapes(1, 16, 128, 128),
        text(333, 4096, 2048),
        16 * 128**2,
        2,
    ),
    "FLUX.1 dev, 1024 px": (
        flux,
        shapes(1, 4096, 64),
        {**text(512, 4096, 768), **PLACES},
        16 * 128**2,
        1,
    ),
}

print("| network | D | million weights | GB | TFLOP an evaluation | plain | with log p |")
print("| --: | --: | --: | --: | --: | --: | --: |")
for name, (make, x, told, size, guided) in CASES.items():
    with torch.device("meta"):
        network = make()
    weights = sum(value.numel() for value in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, **told)
    once = guided * counter.get_total_flops()
    plain = [once * STEPS / speed for speed in reversed(CHIP)]
    work = [once * SOLVES * STEPS * (1 + PROBES * tangent) for tangent in TANGENT]
    measured = [one / speed for one, speed in zip(work, reversed(CHIP), strict=True)]
    facts = f"{size:,} | {weights / 1e6:,.0f} | {4 * weights / 1e9:.1f} | {once / 1e12:.1f}"
    print(
        f"| {name} | {facts} | "
        f"{plain[0]:.0f} to {plain[1]:.0f} s | {measured[0]:.0f} to {measured[1]:.0f} s |"
    )
