"""The rows: how each network becomes a flow.

Every function is what its user writes, from the network on: its lines are counted, and what it
needed is said beside it. None of them is touched to make a check pass.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import densityguide as dg
from studies.networks import trained
from studies.third_party import mnist_networks

HERE = mnist_networks.HERE
VP = dg.paths.variance_preserving()
RANGE, SHAPE, STD = (-10.0, 8.0), (4, 4, 1), 0.5


class Subject(NamedTuple):
    """How to make the flow, what that took, the packages beside this one, and what the user has,
    where it is trained here: it is given to ``make``."""

    make: Callable[..., dg.Flow]
    needed: str
    packages: tuple[str, ...] = ()
    network: Callable[[], Any] | None = None

    @property
    def lines(self) -> int:
        """Statements of what the user writes, imports aside."""
        body = ast.parse(textwrap.dedent(inspect.getsource(self.make))).body[0].body
        own = [node for node in body if not isinstance(node, (ast.Import, ast.ImportFrom))]
        skipped = isinstance(own[0], ast.Expr) and isinstance(own[0].value, ast.Constant)
        text = "\n".join(ast.unparse(node) for node in own[skipped:])
        return len(text.splitlines())


def gaussian_noise(std: Any, x: Any, log_snr: Any) -> Any:
    """The noise in Gaussian data, in closed form: of the rows that are about a framework."""
    alpha, sigma = VP.alpha(log_snr), VP.sigma(log_snr)
    return sigma * x / (alpha**2 * std**2 + sigma**2)


def gaussian_velocity(mean: Any, std: Any, x: Any, t: Any) -> Any:
    """Data less noise of Gaussian data on the linear path, given x at flow time t."""
    variance = t**2 * std**2 + (1.0 - t) ** 2
    return mean + (t * std**2 - (1.0 - t)) / variance * (x - t * mean)


def gaussian_edm(std: Any, x: Any, noise: Any, sigma_data: float = 0.5) -> Any:
    """The raw network F of EDM for Gaussian data, told c_in x and c_noise."""
    sigma = jnp.exp(4.0 * noise)
    total = jnp.sqrt(sigma**2 + sigma_data**2)
    data = std**2 / (std**2 + sigma**2) - sigma_data**2 / total**2
    return data * total * x / (sigma * sigma_data / total)


def mnist_cnn_jax() -> dg.Flow:
    return dg.diffusion(**mnist_networks.parts("mnist_cnn"))


def mnist_unet_jax() -> dg.Flow:
    return dg.diffusion(**mnist_networks.parts("mnist_unet"))


def mnist_cnn_torch() -> dg.Flow:
    from studies.third_party import mnist_torch

    wires = mnist_networks.parts("mnist_cnn")
    module = dg.models.from_torch(mnist_torch.Cnn(), HERE / "mnist_cnn.safetensors")
    return dg.diffusion(**wires | {"apply": module, "params": None})


def mnist_unet_torch() -> dg.Flow:
    from studies.third_party import mnist_torch

    wires = mnist_networks.parts("mnist_unet")
    module = dg.models.from_torch(mnist_torch.Unet(), HERE / "mnist_unet.safetensors")
    return dg.diffusion(**wires | {"apply": module, "params": None})


def azula_gaussian_vp() -> dg.Flow:
    import torch
    from azula import denoise, noise
    from azula.linalg.covariance import DiagonalCovariance

    covariance = DiagonalCovariance(torch.linspace(0.1, 1.0, 12))
    denoiser = denoise.GaussianDenoiser(torch.zeros(12), covariance, noise.VPSchedule())
    return dg.models.from_azula(denoiser, (12,))


def azula_gaussian_rectified() -> dg.Flow:
    import torch
    from azula import denoise, noise
    from azula.linalg.covariance import DiagonalCovariance

    covariance = DiagonalCovariance(torch.linspace(0.1, 1.0, 12))
    denoiser = denoise.GaussianDenoiser(torch.zeros(12), covariance, noise.RectifiedSchedule())
    return dg.models.from_azula(denoiser, (12,))


def flax_nnx() -> dg.Flow:
    from flax import nnx

    class Module(nnx.Module):
        def __init__(self) -> None:
            self.std = nnx.Param(jnp.asarray(STD))

        def __call__(self, x: Any, log_snr: Any) -> Any:
            return gaussian_noise(self.std[...], x, log_snr)

    return dg.diffusion(Module(), path=VP, prediction="noise", log_snr=RANGE, shape=SHAPE)


def flax_train_state() -> dg.Flow:
    import flax.linen as nn
    import optax
    from flax.training.train_state import TrainState

    class Module(nn.Module):
        @nn.compact
        def __call__(self, x: Any, log_snr: Any) -> Any:
            return gaussian_noise(self.param("std", lambda key: jnp.asarray(STD)), x, log_snr)

    weights = Module().init(jax.random.key(0), jnp.zeros(SHAPE), 0.0)["params"]
    state = TrainState.create(apply_fn=Module().apply, params=weights, tx=optax.adam(1e-3))
    apply = lambda params, x, t: state.apply_fn({"params": params}, x, t)  # noqa: E731
    wires: dict[str, Any] = {"path": VP, "prediction": "noise", "log_snr": RANGE, "shape": SHAPE}
    return dg.diffusion(apply, params=state.params, **wires)


def equinox_module() -> dg.Flow:
    import equinox

    class Module(equinox.Module):
        std: Any

        def __call__(self, x: Any, log_snr: Any) -> Any:
            return gaussian_noise(self.std, x, log_snr)

    module: Any = Module(jnp.asarray(STD))
    return dg.diffusion(module, path=VP, prediction="noise", log_snr=RANGE, shape=SHAPE)


def nnx_labels() -> dg.Flow:
    from flax import nnx

    class Module(nnx.Module):
        def __init__(self) -> None:
            self.std = nnx.Param(jnp.asarray(STD))

        def __call__(self, x: Any, t: Any, y: Any) -> Any:
            time = 1.0 - t.reshape(-1, 1, 1, 1)
            return -gaussian_velocity(0.1 * y[0], self.std[...], x, time)

    wires: dict[str, Any] = {"path": dg.paths.linear(), "prediction": "velocity", "shape": SHAPE}
    wires |= {"clock": dg.clocks.reversed_flow_time, "log_snr": RANGE}
    wires |= {"condition": jnp.asarray(1), "classes": 3}
    return dg.diffusion(Module(), **wires, batched=True)


def gensbi_posterior() -> dg.Flow:
    from flax import nnx
    from gensbi.core import FlowMatchingMethod
    from gensbi.recipes import ConditionalPipeline

    class Module(nnx.Module):
        def __init__(self) -> None:
            self.std = nnx.Param(jnp.asarray(STD))

        def __call__(self, t: Any, obs: Any, cond: Any, **ids: Any) -> Any:
            return gaussian_velocity(cond[:, :2], self.std[...], obs, t.reshape(-1, 1, 1))

    data: Any = iter(())
    pipeline = ConditionalPipeline(Module(), data, data, 2, 3, method=FlowMatchingMethod())
    graph, weights = nnx.split(pipeline.ema_model)
    ids = {"obs_ids": pipeline.obs_ids, "cond_ids": pipeline.cond_ids}

    def velocity(weights: Any, x: Any, t: Any, observed: Any) -> Any:
        return nnx.merge(graph, weights)(t=t[None], obs=x[None], cond=observed[None], **ids)[0]

    wires: dict[str, Any] = {"path": dg.paths.linear(), "prediction": "velocity"}
    wires |= {"clock": dg.clocks.flow_time, "shape": (2, 1), "log_snr": RANGE}
    return dg.diffusion(velocity, params=weights, condition=jnp.ones((3, 1)), **wires)


def linen_edm() -> dg.Flow:
    import flax.linen as nn

    class Module(nn.Module):
        @nn.compact
        def __call__(self, x: Any, temb: Any, textcontext: Any) -> Any:
            std = self.param("std", lambda key: jnp.asarray(STD))
            return gaussian_edm(std, x, temb.reshape(-1, 1, 1, 1))

    text = jnp.zeros((1, 4))
    weights = Module().init(jax.random.key(0), jnp.zeros((1, *SHAPE)), jnp.zeros(1), text[None])
    wires: dict[str, Any] = {"path": dg.paths.variance_exploding(), "prediction": "data"}
    wires |= {"clock": dg.clocks.edm_noise, "shape": SHAPE, "log_snr": (-8.0, 8.0)}
    raw: Any = Module().apply
    return dg.diffusion(dg.edm(raw), params=weights, condition=text, batched=True, **wires)


def saved_pipeline(folder: Path) -> dg.Flow:
    return dg.models.from_diffusers(folder)


def saved_network(folder: Path) -> dg.Flow:
    return dg.models.from_diffusers(folder, condition=3)


def azula_denoiser(denoiser: Any) -> dg.Flow:
    return dg.models.from_azula(denoiser, (8, 8, 1))


def azula_classes(denoiser: Any) -> dg.Flow:
    label = jax.nn.one_hot(3, 10)
    return dg.models.from_azula(denoiser, (8, 8, 1), condition={"label": label})


def flaxdiff_network(network: Any) -> dg.Flow:
    unet, weights = network
    wires: dict[str, Any] = {"path": dg.paths.variance_exploding(), "prediction": "data"}
    wires |= {"clock": dg.clocks.edm_noise, "shape": (8, 8, 1), "log_snr": (-8.0, 8.0)}
    wires |= {"condition": jnp.zeros((1, 4)), "batched": True}
    return dg.diffusion(dg.edm(unet.apply, sigma_data=0.5), params=weights, **wires)


def gensbi_trained(pipeline: Any) -> dg.Flow:
    from flax import nnx

    graph, weights = nnx.split(pipeline.ema_model)
    ids = {"obs_ids": pipeline.obs_ids, "cond_ids": pipeline.cond_ids}

    def velocity(weights: Any, x: Any, t: Any, observed: Any) -> Any:
        return nnx.merge(graph, weights)(t=t[None], obs=x[None], cond=observed[None], **ids)[0]

    wires: dict[str, Any] = {"path": dg.paths.linear(), "prediction": "velocity"}
    wires |= {"clock": dg.clocks.flow_time, "shape": (2, 1), "condition": jnp.ones((3, 1))}
    return dg.diffusion(velocity, params=weights, **wires)


def hackable_network(network: Any) -> dg.Flow:
    module, weights = network
    options = {"is_training": False}

    def velocity(weights: Any, x: Any, time: Any, label: Any) -> Any:
        told = {"label": label}
        found = module.apply(weights, time=time, xt=x, conditioning=told, **options)
        return found["velocity"]

    wires: dict[str, Any] = {"path": dg.paths.variance_preserving(), "prediction": "velocity"}
    wires |= {"clock": dg.clocks.cosine_time, "shape": (2,), "log_snr": (-8.0, 8.0)}
    wires |= {"condition": jnp.asarray(1), "classes": 2, "batched": True}
    return dg.diffusion(velocity, params=weights, **wires)


TORCH = ("torch", "torchax")
REBUILT = "rebuilt as a JAX function; path, clock, range stated"
HANDED = "module and file of weights as they are; path, clock, range stated"
SUBJECTS = {
    "MNIST CNN, in JAX": Subject(mnist_cnn_jax, REBUILT),
    "MNIST U-Net, in JAX": Subject(mnist_unet_jax, REBUILT),
    "MNIST CNN, in PyTorch": Subject(mnist_cnn_torch, HANDED, TORCH),
    "MNIST U-Net, in PyTorch": Subject(mnist_unet_torch, HANDED + "; whole times, found", TORCH),
    "diffusers DDPM pipeline": Subject(
        saved_pipeline, "nothing", (*TORCH, "diffusers"), trained.ddpm
    ),
    "diffusers U-Net of flow matching, classes": Subject(
        saved_network, "a class", (*TORCH, "diffusers"), trained.flow_matching
    ),
    "azula KarrasDenoiser": Subject(
        azula_denoiser, "shape", (*TORCH, "azula"), trained.azula_karras
    ),
    "azula ElucidatedDenoiser (plugin edm), classes": Subject(
        azula_classes, "shape, a class", (*TORCH, "azula"), trained.azula_elucidated
    ),
    "flaxdiff U-Net of EDM": Subject(
        flaxdiff_network,
        "dg.edm around it, batched=True; path, clock, range stated",
        ("flaxdiff",),
        trained.flaxdiff_unet,
    ),
    "gensbi pipeline (Flux1)": Subject(
        gensbi_trained,
        "float32 weights; split and merged; path, clock stated",
        ("gensbi",),
        trained.gensbi_flux,
    ),
    "hackable-diffusion network, labels": Subject(
        hackable_network,
        "its output taken from a dict, batched=True; path, clock, range stated",
        ("hackable_diffusion",),
        trained.hackable_mlp,
    ),
    "azula GaussianDenoiser, VP, closed form": Subject(
        azula_gaussian_vp, "nothing", (*TORCH, "azula")
    ),
    "azula GaussianDenoiser, rectified, closed form": Subject(
        azula_gaussian_rectified, "nothing", (*TORCH, "azula")
    ),
    "flax nnx, closed form": Subject(flax_nnx, "nothing"),
    "flax linen TrainState, closed form": Subject(flax_train_state, "apply_fn around its params"),
    "equinox, closed form": Subject(equinox_module, "nothing", ("equinox",)),
    "a batch of labels in flax nnx, closed form": Subject(nnx_labels, "batched=True"),
    "gensbi pipeline, closed form": Subject(
        gensbi_posterior, "split and merged; path, clock stated", ("gensbi", "numpyro")
    ),
    "a batch of c_noise and text in flax linen, closed form": Subject(
        linen_edm, "dg.edm around it, batched=True"
    ),
}
