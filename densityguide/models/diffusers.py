"""Models saved by Hugging Face diffusers, run by JAX through torchax.

A folder becomes a `Flow` with its weights as arguments, so everything in this library applies to
it: guidance, exact traces, log-densities. Only safetensors are read, nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import require
from densityguide.data.transforms import Dequantise
from densityguide.flow import clocks, paths
from densityguide.flow.build import diffusion
from densityguide.flow.flow import Flow
from densityguide.flow.torch_modules import packages
from densityguide.models.diffusers_condition import KINDS, classes_of, condition_of
from densityguide.models.diffusers_folder import (
    DECODERS,
    WEIGHTS,
    check_weights,
    components,
    read_json,
)

__all__ = ["from_diffusers", "image_decoder"]

PREDICTIONS = {"epsilon": "noise", "v_prediction": "v", "sample": "data"}
LEVELS = 256


def from_diffusers(
    folder: str | os.PathLike[str],
    *,
    condition: Any = None,
    log_snr: tuple[ArrayLike, ArrayLike] | None = None,
    shape: tuple[int, int] | None = None,
) -> Flow:
    """A pipeline or model folder saved by diffusers as a `Flow`.

    ``UNet2DModel``, ``UNet2DConditionModel`` and ``DiTTransformer2DModel``; betas and prediction
    type are those of the scheduler's config (schedulers with betas: variance preserving; flow
    matching: linear). Samples are [H, W, C]; those of a latent model are latents, see
    `image_decoder`. Pixel models come with the transform of 8-bit images on [-1, 1].

    Args:
        folder: with ``model_index.json``, or of one model with ``scheduler/`` inside or beside it.
        condition: for ONE sample: the class, the text embedding [tokens, width], or a dict of the
            network's keyword arguments. Change it later with ``flow.given``.
        log_snr: range; by default the scheduler's whole one, and (-10, 10) for flow matching.
        shape: (H, W), where the config names no sample size.

    Raises:
        FileNotFoundError: no such folder, or a component's file is missing.
        ValueError: pickled weights, damaged or half-downloaded files, an unknown network or
            scheduler, a missing condition; and if the extra ``diffusers`` is not installed.
    """
    _engine()
    parts = components(Path(folder))
    config = read_json(parts["network"] / "config.json")
    kind: Any = config.get("_class_name")
    require(
        kind in KINDS,
        f"unknown network {kind!r} in {parts['network']}: expected one of {', '.join(KINDS)}",
    )
    schedule = _schedule(
        read_json(parts["scheduler"] / "scheduler_config.json"), parts["scheduler"]
    )
    size: Any = shape or config.get("sample_size")
    require(size is not None, f"{parts['network']} names no sample size: pass shape=(H, W)")
    size = (size, size) if isinstance(size, int) else tuple(size)
    channels: Any = config.get("in_channels")
    require(isinstance(channels, int), f"{parts['network']} names no in_channels: copy it again")
    condition = condition_of(kind, config, condition)
    function, params = _network(parts["network"], kind)
    home = parts["network"].parent
    latent = channels not in (1, 3) or any((home / name).is_dir() for name in DECODERS)
    return diffusion(
        _Call(function, KINDS[kind][0], schedule["factor"], channels),
        params=params,
        path=schedule["path"],
        prediction=schedule["prediction"],
        clock=schedule["clock"],
        log_snr=schedule["log_snr"] if log_snr is None else log_snr,
        shape=(*size, channels),
        condition=condition,
        classes=classes_of(config, condition),
        batched=True,
        channels_first=True,
        transform=None if latent else Dequantise(LEVELS),
    )


def image_decoder(folder: str | os.PathLike[str]) -> Callable[[Array], np.ndarray] | None:
    """Latents [N, H, W, C] -> uint8 images [N, H', W', 3] by the pipeline's ``AutoencoderKL``;
    None if it has none. Raises as `from_diffusers`."""
    engine = _engine()
    part = components(Path(folder)).get("vae")
    if part is None:
        return None
    config = read_json(part / "config.json")
    kind = config.get("_class_name")
    require(kind == "AutoencoderKL", f"unknown decoder {kind!r} in {part}: expected AutoencoderKL")
    vae = _load(engine.diffusers.AutoencoderKL, part)

    module: Any = engine.torch.nn.Module

    class Decode(module):  # type: ignore[misc]  # a base that mypy need not have installed
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, latents: Any) -> Any:
            return self.vae.decode(latents, return_dict=False)[0]

    params, function = engine.torchax.extract_jax(Decode().eval())
    scale, shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0

    @jax.jit
    def run(params: Any, latents: Array) -> Array:
        images = function(params, (jnp.moveaxis(latents / scale + shift, -1, 1),))
        return jnp.clip(jnp.round(127.5 * (jnp.moveaxis(images, 1, -1) + 1.0)), 0, 255)

    return lambda latents: np.asarray(run(params, jnp.asarray(latents))).astype(np.uint8)


@dataclass(frozen=True)
class _Call:
    """The torch module as ``(params, x, t, condition)`` on a batch, channels first."""

    function: Callable[..., Any]
    name: str
    factor: float  # the module's time per unit of the clock
    channels: int

    def __call__(self, params: Any, x: Array, t: Array, condition: Any = None) -> Array:
        inputs = {self.name: x, "timestep": self.factor * t, **(condition or {})}
        # Networks that learned a variance append it to their output.
        return self.function(params, inputs)[:, : self.channels]


@dataclass(frozen=True)
class _Engine:
    torch: Any
    torchax: Any
    diffusers: Any


@functools.cache
def _engine() -> _Engine:
    try:
        import diffusers

        parts = packages()
    except ImportError as error:
        raise ValueError(
            f"models of diffusers need packages that are not installed ({error}): "
            'pip install -e ".[diffusers]", or "densityguide[diffusers]"'
        ) from None
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return _Engine(parts.torch, parts.torchax, diffusers)


def _schedule(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Path, clock, prediction and range that a scheduler's config stands for."""
    name = str(config.get("_class_name"))
    scheduler: Any = getattr(_engine().diffusers, name, None)
    known = name.startswith("FlowMatch") or ("beta_schedule" in config)
    require(
        scheduler is not None and known and config.get("timestep_type") != "continuous",
        f"unknown scheduler {name!r} in {folder}: expected one with betas (DDPMScheduler and its "
        "kin) or of flow matching; for others use densityguide.diffusion",
    )
    if name.startswith("FlowMatch"):
        steps = float(config.get("num_train_timesteps", 1000))
        return {
            "path": paths.linear(),
            "clock": clocks.reversed_flow_time,
            "prediction": "velocity",
            "log_snr": (-10.0, 10.0),
            "factor": steps,
        }
    kind = config.get("prediction_type", "epsilon")
    require(
        kind in PREDICTIONS,
        f"unknown prediction_type {kind!r} in {folder}: expected one of {', '.join(PREDICTIONS)}",
    )
    try:
        betas = np.asarray(scheduler.from_config(config).betas.double())
    except Exception as error:  # whatever a scheduler of impossible numbers raises
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"the scheduler in {folder} is damaged ({words}): copy it again") from None
    table = clocks.ddpm_log_snr(betas)
    return {
        "path": paths.variance_preserving(),
        "clock": clocks.ddpm(betas),
        "prediction": PREDICTIONS[kind],
        "log_snr": (float(table[-1]), float(table[0])),
        "factor": 1.0,
    }


@contextlib.contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"the weights in {folder} are damaged ({words}): copy them anew") from None


def _load(kind: Any, folder: Path) -> Any:
    check_weights(folder)
    single = folder / f"{WEIGHTS}.safetensors"
    variants = sorted(folder.glob(f"{WEIGHTS}.*.safetensors"))
    whole = single.is_file() or (folder / f"{single.name}.index.json").is_file()
    variant = None if whole or not variants else variants[0].name.split(".")[1]
    with _one_line(folder):
        module, found = kind.from_pretrained(
            folder,
            output_loading_info=True,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,
            torch_dtype=_engine().torch.float32,
        )
    # torch would go on with whatever its memory holds.
    absent = [*found["missing_keys"], *found["mismatched_keys"]]
    require(
        not absent,
        f"the weights in {folder} do not fit config.json, {len(absent)} of its tensors are missing "
        f"({absent[0] if absent else ''}): copy both again",
    )
    return module.eval()


def _network(folder: Path, kind: str) -> tuple[Callable[..., Any], Any]:
    engine = _engine()
    module = _load(getattr(engine.diffusers, kind), folder)
    params, function = engine.torchax.extract_jax(module)
    # One function for all weights of an architecture, so that other weights compile nothing.
    config = {name: value for name, value in module.config.items() if name[0] != "_"}
    return _shared(kind, json.dumps(config, sort_keys=True, default=str), function), params


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {}


def _shared(kind: str, config: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @jax.jit
    def run(params: Any, inputs: dict[str, Array]) -> Array:
        return function(params, (), {**inputs, "return_dict": False})[0]

    return _FUNCTIONS.setdefault((kind, config), run)
