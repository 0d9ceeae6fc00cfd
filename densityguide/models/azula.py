"""Denoisers of azula as flows, run by JAX through torchax."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from jax.typing import ArrayLike

from densityguide.checks import concrete, require, scalar
from densityguide.flow.build import diffusion
from densityguide.flow.flow import Flow
from densityguide.flow.torch_modules import engine
from densityguide.models.azula_schedule import schedule_of

__all__ = ["from_azula"]


def from_azula(
    denoiser: Any,
    shape: tuple[int, ...],
    *,
    condition: dict[str, Any] | None = None,
    log_snr: tuple[ArrayLike, ArrayLike] | None = None,
    channels_first: bool | None = None,
    transform: Any = None,
) -> Flow:
    """A denoiser of azula as a `Flow`: its posterior mean E[x0 | x_t] is the prediction, its
    schedule the path and the clock.

    All of azula's denoisers are taken, those of its plugins too, on the schedules `VESchedule`,
    `VPSchedule`, `CosineSchedule`, `RectifiedSchedule`, `DecaySchedule` and `ElucidatedSchedule`.
    A copy in evaluation mode is made, without the clipping of means to [-1, 1] that some of them
    sample with: a clipped mean belongs to no score. Those of ADM and Stable Diffusion round the
    noise level down to a row of a table of 1000: their flow is one of steps in time.

    Args:
        denoiser: an ``azula.denoise.Denoiser``, with its weights.
        shape: of one sample, channels last for images, in the denoiser's own units.
        condition: its keyword arguments (``label``, ``prompt_embeds``) for ONE sample; change them
            with ``flow.given``.
        log_snr: range; by default the schedule's whole one.
        channels_first: whether the denoiser takes [C, H, W]; by default found by a trial call.
        transform: declared data transform, needed by ``bits_per_dim``.

    Raises:
        ValueError: torchax is not installed, no denoiser, an unknown schedule, a range beyond the
            schedule, or a denoiser that fails on one sample.
    """
    require(
        hasattr(denoiser, "schedule") and hasattr(denoiser, "modules"),
        f"from_azula takes a denoiser of azula, got {type(denoiser).__name__}: a network alone "
        "goes into densityguide.diffusion, or into azula's SimpleDenoiser or KarrasDenoiser first",
    )
    require(
        condition is None or isinstance(condition, dict),
        f"condition must be a dict of the denoiser's keyword arguments, got "
        f"{type(condition).__name__}: e.g. {{'label': 3}}",
    )
    schedule = schedule_of(denoiser.schedule)
    if log_snr is not None:
        start = concrete(scalar(log_snr[0], "log_snr"))
        require(
            start is None or bool(start >= schedule.log_snr[0] - 1e-3),
            f"log_snr must start at or above {schedule.log_snr[0]:.4g}, the end of the denoiser's "
            f"{type(denoiser.schedule).__name__}, got {log_snr[0]}",
        )
    _say_if_clipped(denoiser)
    module = _kind()(denoiser)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "by a trial call")
        return diffusion(
            module,
            path=schedule.path,
            prediction="data",
            clock=schedule.clock,
            log_snr=schedule.log_snr if log_snr is None else log_snr,
            shape=shape,
            condition=condition,
            transform=transform,
            batched=True,
            channels_first=channels_first,
            integer_times=False,
            learned_variance=False,
        )


def _say_if_clipped(denoiser: Any) -> None:
    for part in denoiser.modules():
        if getattr(part, "clip_mean", False):
            warnings.warn(
                f"{type(part).__name__} clips its means to [-1, 1] while sampling, and a clipped "
                "mean belongs to no score: the flow is that of clip_mean=False",
                stacklevel=3,
            )


@functools.cache
def _kind() -> Any:
    class Mean(engine().torch.nn.Module):  # type: ignore[misc]
        """(x, t, condition) to the mean of the posterior. It runs as a copy of its own."""

        def __init__(self, denoiser: Any) -> None:
            super().__init__()
            self.denoiser = denoiser

        def forward(self, x: Any, t: Any, condition: Any = None) -> Any:
            for part in self.denoiser.modules():
                if hasattr(part, "clip_mean"):
                    part.clip_mean = False
            try:
                return self.denoiser(x, t, **(condition or {})).mean
            finally:
                _forget(self.denoiser)

    return Mean


def _forget(denoiser: Any) -> None:
    """What a cached method keeps of one trace must not reach the next."""
    kinds = {type(part) for part in denoiser.modules()}
    kept: list[Any] = [getattr(kind, name, None) for kind in kinds for name in vars(kind)]
    for method in kept:
        if hasattr(method, "cache_clear"):
            method.cache_clear()
