"""Whole text-to-image pipelines of diffusers' own classes, tiny and with random weights."""

import functools

import diffusers
import torch
import transformers

torch.set_num_threads(1)  # more of them wait for each other longer than these networks run

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = 16  # tokens that CLIP reads
SIDE = 8  # of the latents
BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}


def noisy(module):
    """Zero-initialised layers would hide what feeds them."""
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.05 * torch.randn_like(value))
        for name, part in module.named_modules():
            if name.endswith(("time_embedding", "timestep_embedder")):
                slow_down(part.linear_1.weight)
    return module.eval()


def slow_down(weight):
    """Of the sines and cosines of the time only the slower half: a trained network is smooth in
    time, a random one is not, and no solver would converge."""
    half = weight.shape[1] // 2
    weight[:, : half // 2] = weight[:, half : half + half // 2] = 0.0


def clip_words():
    ends = ["<|startoftext|>", "<|endoftext|>"]
    tokens = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), *ends]
    vocab = {token: index for index, token in enumerate(tokens)}
    return transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=WORDS)


def clip(kind="CLIPTextModel", width=12):
    words = len(LETTERS) * 2
    config = transformers.CLIPTextConfig(
        vocab_size=words + 2,
        hidden_size=width,
        intermediate_size=16,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=WORDS,
        bos_token_id=words,
        eos_token_id=words + 1,
        pad_token_id=words + 1,
    )
    return noisy(getattr(transformers, kind)(config))


def t5_words():
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -3.0) for letter in LETTERS]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def t5(width=24):
    config = transformers.T5Config(
        vocab_size=32, d_model=width, d_kv=8, d_ff=16, num_layers=2, num_heads=2
    )
    return noisy(transformers.T5EncoderModel(config))


def vae(**more):
    return noisy(
        diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
            up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=4,
            sample_size=2 * SIDE,
            **more,
        )
    )


def unet(width, **more):
    return noisy(
        diffusers.UNet2DConditionModel(
            sample_size=SIDE,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=width,
            attention_head_dim=(2, 4),
            **BLOCKS,
            **more,
        )
    )


BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SPACING = {"timestep_spacing": "trailing"}  # so that the solve starts at the noise end


def stable_diffusion(prediction="epsilon"):
    scheduler = diffusers.DDIMScheduler(
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **BETAS,
        **SPACING,
    )
    return diffusers.StableDiffusionPipeline(
        vae(), clip(), clip_words(), unet(12), scheduler, None, None, requires_safety_checker=False
    )


def stable_diffusion_xl():
    network = unet(
        28,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 16,
        use_linear_projection=True,
    )
    second = clip("CLIPTextModelWithProjection", 16)
    scheduler = diffusers.EulerDiscreteScheduler(final_sigmas_type="sigma_min", **BETAS, **SPACING)
    return diffusers.StableDiffusionXLPipeline(
        vae(), clip(), second, clip_words(), clip_words(), network, scheduler
    )


SHIFTED = {"shift_factor": 0.3, "scaling_factor": 1.5}


def stable_diffusion_3(third=True):
    network = diffusers.SD3Transformer2DModel(
        sample_size=SIDE,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=12 + 16,
        out_channels=4,
        pos_embed_max_size=SIDE,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    last = (t5(32), t5_words()) if third else (None, None)
    return diffusers.StableDiffusion3Pipeline(
        noisy(network),
        diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae(**SHIFTED),
        clip("CLIPTextModelWithProjection"),
        clip_words(),
        clip("CLIPTextModelWithProjection", 16),
        clip_words(),
        *last,
    )


def flux_network(guided=True, joint=24, pooled=12):
    """Flux's transformer, told embeddings of so many numbers."""
    return diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=joint,
        pooled_projection_dim=pooled,
        guidance_embeds=guided,
        axes_dims_rope=(4, 6, 6),
    )


def flux(guided=True):
    network = flux_network(guided)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    words = clip_words(), t5(), t5_words()
    return diffusers.FluxPipeline(scheduler, vae(**SHIFTED), clip(), *words, noisy(network))


def pixart(side=SIDE):
    network = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,  # two sides of the picture and their ratio share the width by three
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=24,
        sample_size=side,
        patch_size=2,
        caption_channels=24,
        interpolation_scale=1,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++", solver_order=1, final_sigmas_type="sigma_min", **SPACING
    )
    return diffusers.PixArtAlphaPipeline(t5_words(), t5(), vae(), noisy(network), scheduler)


def dit():
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,  # noise and a learned variance
        num_layers=2,
        sample_size=SIDE,
        patch_size=2,
    )
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **SPACING)
    return diffusers.DiTPipeline(noisy(network), vae(), scheduler)


PIPELINES = {
    "sd": stable_diffusion,
    "sd-v": functools.partial(stable_diffusion, "v_prediction"),
    "xl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "flux": flux,
    "flux-plain": functools.partial(flux, guided=False),
    "pixart": pixart,
    "pixart-sizes": functools.partial(pixart, side=128),
    "sd3-two": functools.partial(stable_diffusion_3, third=False),
    "dit": dit,
}


def save(root, name):
    """The folder of a pipeline, by its own ``save_pretrained``."""
    torch.manual_seed(0)
    folder = root / name
    if not folder.is_dir():
        PIPELINES[name]().save_pretrained(folder)
    return folder
