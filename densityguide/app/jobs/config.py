"""What a job is: one frozen dataclass per kind, read from TOML."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from densityguide import solve
from densityguide.app.requests import check_tolerance
from densityguide.disk import settings

__all__ = ["Alignment", "Density", "Guidance", "Job", "Noise", "Output", "Sampling", "Solve"]
__all__ += ["check", "completed", "read", "record"]

QUANTILES = ("quantile", "calibrated", "pinned", "rescale")  # kinds whose values are some
GUIDANCES = (*QUANTILES, "budget", "target")
TRACES = ("auto", "none", "exact", "hutchinson", "orthogonal")
SHARDS = 10**6  # their names have six digits
LOUDEST = 100.0  # largest noise level, relative to the reverse SDE's
MOST = 2**32  # sample indices are folded into keys as 32 bits


@dataclass(frozen=True)
class Guidance:
    """``kind`` is quantile, calibrated, pinned, budget, target, rescale (prior guidance: of the
    latent, by a quantile), or empty for the plain model; the job draws its samples once at each of
    ``values``. With ``land`` a target is searched for, until the model's own log p is the value."""

    kind: str = ""
    values: tuple[float, ...] = ()
    land: bool = False


@dataclass(frozen=True)
class Noise:
    """Projected noise of ``level`` times the reverse SDE's (0 is none), at all noise levels or in
    the ``band`` [low, high] of log-SNR."""

    level: float = 0.0
    band: tuple[float, ...] = ()


@dataclass(frozen=True)
class Solve:
    """Options of the solve; 0 and empty are the defaults that fit the model.

    ``tolerance``, 0.5 nats or "0.01bpd", takes as many steps as log p of the model's own samples
    needs to be that certain; the number is kept in the manifest. ``divergence`` is auto, none,
    exact, hutchinson or orthogonal, the last two with ``probes``.
    ``rtol`` or ``atol`` above 0 makes the solve adaptive; one alone chooses the other.
    """

    steps: int = 0
    solver: str = ""
    rtol: float = 0.0
    atol: float = 0.0
    tolerance: str | float = ""
    divergence: str = "auto"
    probes: int = 2


@dataclass(frozen=True)
class Output:
    """Samples go to numbered shards of ``shard`` samples, as npz or zarr; ``block`` samples at a
    time are worked on by one device, and results are equal bit for bit for equal blocks."""

    shard: int = 64
    block: int = 8
    format: str = "npz"


@dataclass(frozen=True)
class Sampling:
    """Samples 0 .. count - 1 of a model at each value of the guidance. Sample i has the key
    ``fold_in(key(seed), i)``, the same at every value. ``images`` also stores integer pictures,
    ``states`` the floats that they were made of. ``prompt``, ``negative`` and ``scale`` are for
    text-to-image models; a scale of 0 is the default."""

    model: str
    count: int
    condition: str = ""
    prompt: str = ""
    negative: str = ""
    scale: float = 0.0
    seed: int = 0
    images: bool = False
    states: bool = True
    guidance: Guidance = Guidance()
    noise: Noise = Noise()
    solve: Solve = Solve()
    output: Output = Output()


@dataclass(frozen=True)
class Density:
    """Log-density of a data set: a built-in name, an npz file, or a folder of pictures of
    ``shape``; ``part`` is heldout or train, and ``count`` 0 takes all of it. Pictures are
    dequantised ``draws`` times."""

    model: str
    data: str
    part: str = "heldout"
    count: int = 0
    condition: str = ""
    seed: int = 0
    draws: int = 4
    shape: tuple[int, ...] = ()
    solve: Solve = Solve()
    output: Output = Output()


@dataclass(frozen=True)
class Alignment:
    """Score alignment at ``count`` latents; ``use_score`` chooses between its two forms."""

    model: str
    count: int
    condition: str = ""
    seed: int = 0
    use_score: bool = True
    solve: Solve = Solve()
    output: Output = Output()


Job = Sampling | Density | Alignment
TABLES = ("train",)  # kinds that others read
KINDS: dict[str, type] = {"sample": Sampling, "density": Density, "alignment": Alignment}


def read(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Job | dict[str, Any]:
    """The job of a TOML file, its ``kind`` key choosing the dataclass; for the kind "train" the
    tables as they are, which `training` reads.

    ValueError or FileNotFoundError, one line, for anything that cannot be run.
    """
    values = settings.override(settings.read(path), overrides)
    kind = values.get("kind")
    if kind in TABLES:
        return values
    if not isinstance(kind, str) or kind not in KINDS:
        names = ", ".join([*KINDS, *TABLES])
        raise ValueError(f"expected kind = one of {names} in {path}, got {kind!r}")
    del values["kind"]
    return check(settings.build(KINDS[kind], values))


def record(job: Job) -> dict[str, Any]:
    """The resolved settings, as plain values."""
    kind = next(name for name, known in KINDS.items() if isinstance(job, known))
    return {"kind": kind} | _plain(dataclasses.asdict(job))


def completed(known: dict[str, Any]) -> dict[str, Any]:
    """A `record` of an earlier version, with the settings that came since at their defaults."""
    values = dict(known)
    kind = KINDS.get(values.pop("kind", ""))
    try:
        return known if kind is None else record(settings.build(kind, values))
    except ValueError:
        return known


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def check(job: Job) -> Job:
    """The job itself; ValueError, one line, for values that cannot be run."""
    output, solving = job.output, job.solve
    _within("count", job.count, 0 if isinstance(job, Density) else 1, MOST)
    _within("seed", job.seed, 0, MOST - 1)
    _within("output.block", output.block, 1, 2**20)
    _within("output.shard", output.shard, 1, 2**30)
    _within("solve.steps", solving.steps, 0, 10**6)
    _within("solve.probes", solving.probes, 2, 10_000)
    if output.shard % output.block:
        raise ValueError(
            f"expected output.shard a multiple of output.block, got {output.shard} and "
            f"{output.block}: set shard = {-(-output.shard // output.block) * output.block}"
        )
    values = job.guidance.values if isinstance(job, Sampling) else ()
    samples = job.count * max(len(values), 1)
    if samples > output.shard * SHARDS:
        least = -(-samples // (SHARDS * output.block)) * output.block
        raise ValueError(
            f"expected at most {SHARDS:,} shards, got {-(-samples // output.shard):,}: set "
            f"output.shard = {least} or more"
        )
    _among("output.format", output.format, ("npz", "zarr"))
    _among("solve.divergence", solving.divergence, TRACES)
    for name in ("rtol", "atol"):
        if not 0 <= getattr(solving, name) < math.inf:
            raise ValueError(f"expected finite solve.{name} >= 0, got {getattr(solving, name)}")
    _check_tolerance(solving)
    if solving.solver:
        solve.solver_named(solving.solver)
    if isinstance(job, Sampling):
        _check_guidance(job.guidance)
        if job.guidance.land and solving.divergence == "none":
            raise ValueError("expected solve.divergence other than none: landing measures log p")
        _check_noise(job.noise)
        if not (job.images or job.states):
            raise ValueError("expected images or states to be true: nothing would be stored")
    elif solving.divergence == "none":
        raise ValueError("expected solve.divergence other than none: this job measures log p")
    if isinstance(job, Density):
        _among("part", job.part, ("heldout", "train"))
        _within("draws", job.draws, 2, 10_000)
    return job


def _check_tolerance(solving: Solve) -> None:
    if solving.tolerance == "":
        return
    check_tolerance("solve.tolerance", str(solving.tolerance))
    if solving.steps or solving.rtol or solving.atol:
        raise ValueError(
            "expected solve.tolerance alone, which chooses the number of steps: leave out "
            "solve.steps, solve.rtol and solve.atol"
        )


def _check_noise(noise: Noise) -> None:
    if not 0.0 <= noise.level <= LOUDEST:
        raise ValueError(f"expected noise.level in 0 .. {LOUDEST:g}, got {noise.level}")
    low, high = noise.band if len(noise.band) == 2 else (math.nan, math.nan)
    if noise.band and not -math.inf < low < high < math.inf:
        raise ValueError(
            f"expected noise.band = [low, high] of finite log-SNR, low < high, got "
            f"{list(noise.band)}"
        )


def _check_guidance(guidance: Guidance) -> None:
    if guidance.kind:
        _among("guidance.kind", guidance.kind, GUIDANCES)
        if not guidance.values:
            raise ValueError("expected guidance.values, got none: set e.g. values = [0.3, 0.7]")
    elif guidance.values:
        raise ValueError(f"expected guidance.kind beside its values: one of {', '.join(GUIDANCES)}")
    if guidance.land and guidance.kind != "target":
        raise ValueError(
            f"expected guidance.kind = target beside land = true, got {guidance.kind!r}"
        )
    for value in guidance.values:
        if guidance.kind in QUANTILES and not 0.0 < value < 1.0:
            raise ValueError(f"expected guidance.values between 0 and 1, got {value}")
        if not math.isfinite(value):
            raise ValueError(f"expected finite guidance.values, got {value}")


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"expected {name} in {low} .. {high}, got {value}")


def _among(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"expected {name} among {', '.join(known)}, got {value!r}")
