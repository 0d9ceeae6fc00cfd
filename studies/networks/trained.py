"""Networks of other libraries on the 8x8 digits, each trained here for minutes by the loss of its
library: what their users bring. Nothing of this package is in them.

Digits are spread over their 17 levels and scaled to [-1, 1]. Weights are averages over steps.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from densityguide import data

STEPS, BATCH, RATE, DECAY = 2000, 64, 2e-3, 0.995
CLASSES = 10


def digits(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A batch [BATCH, 8, 8, 1] in [-1, 1], and its classes [BATCH]."""
    known = data.load("digits8")
    rows = draw.integers(0, len(known.train), BATCH)
    spread = (known.train[rows] + draw.random((BATCH, 8, 8, 1))) / known.levels
    return (2.0 * spread - 1.0).astype(np.float32), np.asarray(known.labels)[rows]


def by_torch(module: Any, loss: Callable[[Any, Any], Any]) -> Any:
    """The module with weights that minimise ``loss(x [B, 1, 8, 8], classes [B])``."""
    import torch

    draw = np.random.default_rng(0)
    average = copy.deepcopy(module).eval()
    descent = torch.optim.Adam(module.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(descent, STEPS)
    for _ in range(STEPS):
        x, classes = map(torch.as_tensor, digits(draw))
        descent.zero_grad()
        loss(x.movedim(-1, 1), classes).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        descent.step()
        schedule.step()
        with torch.no_grad():
            for kept, value in zip(average.parameters(), module.parameters(), strict=True):
                kept.lerp_(value, 1.0 - DECAY)
    return average


def by_jax(params: Any, loss: Callable[[Any, Any, Any, Any], Any], batches: Any = digits) -> Any:
    """The weights that minimise ``loss(params, key, *batch)``."""
    rule = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(RATE, STEPS))
    )

    @jax.jit
    def step(params: Any, average: Any, state: Any, key: Any, *batch: Any) -> Any:
        change, state = rule.update(jax.grad(loss)(params, key, *batch), state)
        params = optax.apply_updates(params, change)
        return params, optax.incremental_update(params, average, 1.0 - DECAY), state

    draw, average, state = np.random.default_rng(0), params, rule.init(params)
    for number in range(STEPS):
        key = jax.random.fold_in(jax.random.key(0), number)
        params, average, state = step(params, average, state, key, *batches(draw))
    return average


def _unet(**more: Any) -> Any:
    import diffusers
    import torch

    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(24, 48),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=16,
        **more,
    )


def ddpm() -> Path:
    """The folder of a pipeline of diffusers: noise predicted on its default betas."""
    import diffusers
    import torch

    module, scheduler = _unet(), diffusers.DDPMScheduler()

    def loss(x: Any, classes: Any) -> Any:
        t = torch.randint(0, scheduler.config.num_train_timesteps, (len(x),))
        noise = torch.randn_like(x)
        return torch.mean((module(scheduler.add_noise(x, noise, t), t).sample - noise) ** 2)

    folder = Path(tempfile.mkdtemp())
    diffusers.DDPMPipeline(by_torch(module, loss), scheduler).save_pretrained(folder)
    return folder


def flow_matching() -> Path:
    """The folder of a network of diffusers and its scheduler of flow matching, with classes."""
    import diffusers
    import torch

    module = _unet(num_class_embeds=CLASSES)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()

    def loss(x: Any, classes: Any) -> Any:
        t, noise = torch.sigmoid(torch.randn(len(x), 1, 1, 1)), torch.randn_like(x)
        times = t.flatten() * scheduler.config.num_train_timesteps
        found = module((1 - t) * x + t * noise, times, class_labels=classes).sample
        return torch.mean((found - (noise - x)) ** 2)

    folder = Path(tempfile.mkdtemp())
    by_torch(module, loss).save_pretrained(folder)
    scheduler.save_pretrained(folder / "scheduler")
    return folder


def _modulated() -> Any:
    """azula's own UNet, told sines of the time and a class by its vector of modulations."""
    import torch
    from azula.nn import unet

    class Timed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = {"hid_channels": (24, 48), "hid_blocks": (1, 1)}
            self.network = unet.UNet(1, 1, mod_features=32, **width)
            self.table = torch.nn.Linear(CLASSES, 32)
            self.mix = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.SiLU())

        def forward(self, x: Any, t: Any, class_labels: Any = None) -> Any:
            angles = t[..., None] * torch.arange(1.0, 17.0)
            vector = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
            if class_labels is not None:
                vector = vector + self.table(class_labels)
            return self.network(x, self.mix(vector))

    torch.manual_seed(0)
    return Timed()


def azula_karras() -> Any:
    """KarrasDenoiser of azula's UNet on its variance-exploding schedule, by its own loss."""
    import torch
    from azula import denoise, noise

    denoiser = denoise.KarrasDenoiser(_modulated(), noise.VESchedule(1e-2, 50.0))
    return by_torch(denoiser, lambda x, classes: denoiser.loss(x, torch.rand(len(x))).mean())


def azula_elucidated() -> Any:
    """The denoiser of azula's EDM plugin around its UNet, told classes, by the weights of EDM."""
    import torch
    from azula.plugins import edm

    denoiser = edm.ElucidatedDenoiser(_modulated())

    def loss(x: Any, classes: Any) -> Any:
        t = torch.rand(len(x))
        _, sigma = (part.view(-1, 1, 1, 1) for part in denoiser.schedule(t))
        label = torch.nn.functional.one_hot(classes.long(), CLASSES).float()
        found = denoiser(x + sigma * torch.randn_like(x), t, label=label).mean
        return torch.mean((sigma**-2 + 4.0) * (found - x) ** 2)

    return by_torch(denoiser, loss)


def flaxdiff_unet() -> tuple[Any, Any]:
    """A U-Net of flaxdiff and its weights, trained inside its EDM preconditioning."""
    from flaxdiff import predictors, schedulers
    from flaxdiff.models.simple_unet import Unet

    options: dict[str, Any] = {"feature_depths": (24, 48), "attention_configs": (None, None)}
    unet = Unet(output_channels=1, emb_features=64, num_res_blocks=1, norm_groups=8, **options)
    schedule = schedulers.KarrasVENoiseScheduler(1, sigma_max=80, sigma_data=0.5)
    transform = predictors.KarrasPredictionTransform(0.5)
    text = jnp.zeros((BATCH, 1, 4))

    def loss(params: Any, key: Any, x: Any, classes: Any) -> Any:
        first, second = jax.random.split(key)
        # Its schedule is in steps: those whose sigma is log-normal, as EDM is trained.
        sigma = jnp.exp(1.2 * jax.random.normal(first, (len(x),)) - 1.2).clip(0.003, 70.0)
        step = schedule.get_timesteps(sigma)
        rates = schedule.get_rates(step)
        noisy = x + rates[1] * jax.random.normal(second, x.shape)
        inputs = schedule.transform_inputs(noisy * transform.get_input_scale(rates), step)
        found, _ = transform(noisy, unet.apply(params, *inputs, text), step, schedule)
        weight = (rates[1] ** 2 + 0.25) / (0.5 * rates[1]) ** 2
        return jnp.mean(weight * (found - x) ** 2)

    x = jnp.zeros((BATCH, 8, 8, 1))
    return unet, by_jax(unet.init(jax.random.key(0), x, jnp.zeros(BATCH), text), loss)


def gensbi_flux() -> Any:
    """A pipeline of gensbi: two parameters on a noisy ring given three readings of them."""
    from flax import nnx
    from gensbi.models import Flux1Params
    from gensbi.recipes import Flux1FlowPipeline

    def batches(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        angle = draw.uniform(0, 2 * np.pi, (BATCH, 1))
        theta = np.concatenate([np.cos(angle), np.sin(angle)], 1)
        theta += 0.2 * draw.normal(size=theta.shape)
        seen = np.concatenate([theta, theta.sum(1, keepdims=True)], 1)
        seen += 0.5 * draw.normal(size=seen.shape)
        return theta[..., None].astype("f4"), seen[..., None].astype("f4")

    options: dict[str, Any] = {"mlp_ratio": 2, "num_heads": 4, "depth": 1}
    options |= {"in_channels": 1, "context_in_dim": 1, "vec_in_dim": None, "axes_dim": [8]}
    options |= {"depth_single_blocks": 2, "qkv_bias": True, "theta": 50, "dim_obs": 2}
    options |= {"param_dtype": jnp.float32}  # bfloat16 by default, which verify refuses
    params = Flux1Params(**options, dim_cond=3, rngs=nnx.Rngs(0))
    none: Any = iter(())
    pipeline = Flux1FlowPipeline(none, none, 2, 3, params=params)
    graph, weights = nnx.split(pipeline.ema_model)
    ids = {"obs_ids": pipeline.obs_ids, "cond_ids": pipeline.cond_ids}

    def loss(weights: Any, key: Any, theta: Any, seen: Any) -> Any:
        first, second = jax.random.split(key)
        t = jax.random.uniform(first, (BATCH, 1, 1))
        noise = jax.random.normal(second, theta.shape)
        x = t * theta + (1 - t) * noise
        found = nnx.merge(graph, weights)(t=t.ravel(), obs=x, cond=seen, **ids)
        return jnp.mean((found - (theta - noise)) ** 2)

    nnx.update(pipeline.ema_model, by_jax(weights, loss, batches))
    return pipeline


def hackable_mlp() -> tuple[Any, Any]:
    """A network of hackable-diffusion and its weights: two arcs of a noisy ring, by
    label, on its cosine schedule with velocities predicted."""
    from hackable_diffusion.lib import diffusion_network
    from hackable_diffusion.lib.architecture import conditioning_encoder, mlp
    from hackable_diffusion.lib.corruption import gaussian, schedules
    from hackable_diffusion.lib.training import gaussian_loss

    encoder = conditioning_encoder.ConditioningEncoder(
        time_embedder=conditioning_encoder.SinusoidalTimeEmbedder("silu", 32, 32),
        conditioning_embedders={"label": conditioning_encoder.LabelEmbedder(2, 32)},
        merge_embeddings_fn=conditioning_encoder.SumEmbeddings(),
        conditioning_rules={"time": "concatenate", "label": "concatenate"},
    )
    backbone = mlp.ConditionalMLP((64,), (128, 128, 128), "silu", False, 0.0, "concatenate")
    network = diffusion_network.DiffusionNetwork(backbone, encoder, "velocity")
    process = gaussian.GaussianProcess(schedule=schedules.CosineSchedule())
    measure = gaussian_loss.NoWeightGaussianLoss()

    def batches(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = draw.integers(0, 2, BATCH)
        angle = np.pi * (draw.random(BATCH) + labels)
        points = np.stack([np.cos(angle), np.sin(angle)], -1) + 0.2 * draw.normal(size=(BATCH, 2))
        return points.astype("f4"), labels

    def loss(params: Any, key: Any, points: Any, labels: Any) -> Any:
        first, second = jax.random.split(key)
        time = jax.random.uniform(first, (BATCH,), minval=1e-3, maxval=0.999)
        noisy, targets = process.corrupt(second, points, time)
        told = {"label": labels}
        found = network.apply(params, time=time, xt=noisy, conditioning=told, is_training=False)
        return jnp.mean(measure(found, targets, time))

    shapes = {"label": (BATCH,)}
    params = network.initialize_variables((BATCH, 2), shapes, jax.random.key(0))
    return network, by_jax(params, loss, batches)
