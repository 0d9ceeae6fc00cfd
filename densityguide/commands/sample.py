"""``densityguide sample``: the same latents at several q, written as pictures, arrays, report."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from densityguide import __version__, plotting, solve, tracking
from densityguide.commands import cache, draw, folder, source, summary
from densityguide.commands.draw import Settings
from densityguide.commands.source import Source
from densityguide.sampling import Sample

__all__ = ["Request", "Results", "run"]

COLUMNS = 16  # widest picture
WORLD_COUNT, WORLD_EVALUATIONS = 128, 384  # worlds cost next to nothing


class Request(NamedTuple):
    """The options of the command, as typed; None is the default that fits the model."""

    model: str
    q: tuple[str, ...]
    count: int | None
    seed: int
    steps: int | None
    solver: str | None
    out: Path


class Results(NamedTuple):
    """The report, and where its files lie."""

    report: dict[str, Any]
    paths: list[Path]


def parse_q(texts: tuple[str, ...]) -> tuple[float, ...]:
    """``("0.3,0.5", "0.7")`` -> ``(0.3, 0.5, 0.7)``; ValueError outside (0, 1)."""
    values = []
    for text in ",".join(texts).split(","):
        try:
            value = float(text)
        except ValueError:
            raise ValueError(
                f"--q must be numbers between 0 and 1, got {text!r}: write e.g. --q 0.3,0.5,0.7"
            ) from None
        if not 0.0 < value < 1.0:
            raise ValueError(
                f"--q must lie strictly between 0 and 1, got {text}: 0.5 is the plain model, "
                "larger is smoother"
            )
        values.append(value)
    return tuple(values)


def _settings(request: Request, loaded: Source) -> Settings:
    solver = solve.default_solver(stiff=loaded.flow.size <= tracking.SMALL)
    if request.solver is not None:
        solver = solve.solver_named(request.solver)
    fallback = 8 if loaded.is_image else WORLD_COUNT
    budget = draw.EVALUATIONS if loaded.is_image else WORLD_EVALUATIONS
    count = fallback if request.count is None else request.count
    steps = draw.default_steps(solver, budget) if request.steps is None else request.steps
    return Settings(parse_q(request.q), count, request.seed, steps, solver)


def _check(request: Request) -> None:
    """Everything that can be refused without loading a model."""
    parse_q(request.q)
    if request.solver is not None:
        solve.solver_named(request.solver)
    for name, value, low, high in (
        ("--count", request.count, 1, 100_000),
        ("--steps", request.steps, 1, 100_000),
        ("--seed", request.seed, 0, 2**32 - 1),
    ):
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must lie in {low} .. {high}, got {value}")
    folder.check(request.out)


def run(request: Request, progress: Callable[[int], Callable[[], None]]) -> Results:
    """Sample, write and report.

    ``progress(total)`` gives the function to call after each block. ValueError or
    FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    _check(request)
    loaded = source.load(request.model)
    flow, settings = loaded.flow, _settings(request, loaded)
    seconds = {"load": time.perf_counter() - started}

    trace = draw.choose_trace(flow)
    stored = cache.current()
    before = cache.entries(stored)
    compiled = draw.compile_row(flow, settings, trace)
    seconds |= {"trace": compiled.trace_seconds, "compile": compiled.compile_seconds}
    warm = None if stored is None else cache.entries(stored) == before

    clock = time.perf_counter()
    blocks = -(-settings.count // settings.block)
    tick = progress(blocks * len(settings.q))
    outs, row_seconds = [], []
    for q in settings.q:
        since = time.perf_counter()
        outs.append(draw.draw_row(compiled, flow, settings, q, tick))
        row_seconds.append(time.perf_counter() - since)
    seconds["run"] = time.perf_counter() - clock

    clock = time.perf_counter()
    images = _images(loaded, outs)
    sizes = None if images is None else [_sizes(row) for row in images]
    rows = [
        summary.row(flow, q, out, None if sizes is None else sizes[index], row_seconds[index])
        for index, (q, out) in enumerate(zip(settings.q, outs, strict=True))
    ]
    report = _report(loaded, settings, request, rows, outs, sizes, trace)
    arrays = _arrays(settings, outs, images)
    picture = _picture(loaded, rows, outs, images)

    def write_report(path: Path) -> None:
        seconds["write"] = time.perf_counter() - clock
        seconds["total"] = time.perf_counter() - started
        report["seconds"] = dict(seconds)
        report["compilation_cache"] = {True: "warm", False: "cold", None: "off"}[warm]
        folder.write_json(path, summary.plain(report))

    paths = folder.write(
        request.out,
        {
            "grid.png": lambda path: picture.save(path, "PNG"),
            "samples.npz": lambda path: folder.write_npz(path, arrays),
            "report.json": write_report,
        },
    )
    return Results(summary.plain(report), paths)


def _images(loaded: Source, outs: list[Sample]) -> list[np.ndarray] | None:
    """Integer images of every row; None for a model of something else."""
    if not loaded.is_image:
        return None
    # A failed sample has its last finite state, so this is defined for all.
    return [np.asarray(loaded.flow.transform.inverse(out.x)) for out in outs]


def _sizes(images: np.ndarray) -> np.ndarray:
    return np.asarray([summary.png_bytes(image) for image in images])


def _arrays(
    settings: Settings, outs: list[Sample], images: list[np.ndarray] | None
) -> dict[str, np.ndarray]:
    """The arrays of samples.npz, each [rows, columns, ...]."""
    fields = ("x", "log_density", "standard_error", "unmet", "evaluations", "tangents", "status")
    arrays = {name: np.stack([getattr(out, name) for out in outs]) for name in fields}
    if images is not None:
        arrays["images"] = np.stack(images)
    arrays["noise_level"] = outs[0].noise_level[0]
    arrays["q"] = np.asarray(settings.q)
    arrays["seed"] = np.asarray(settings.seed, np.uint32)
    return arrays


def _report(
    loaded: Source,
    settings: Settings,
    request: Request,
    rows: list[dict[str, Any]],
    outs: list[Sample],
    sizes: list[np.ndarray] | None,
    trace: Any,
) -> dict[str, Any]:
    flow = loaded.flow
    report = {
        "program": folder.MARK,
        "version": __version__,
        "model": {
            "name": loaded.name,
            "shape": list(flow.shape),
            "log_snr": [float(end) for end in flow.interval],
            "noise_level": float(outs[0].noise_level[0]),
            "levels": loaded.levels or None,
        },
        "settings": {
            "q": list(settings.q),
            "count": settings.count,
            "seed": settings.seed,
            "steps": settings.steps,
            "solver": type(settings.solver).__name__.lower(),
            "trace": "exact" if trace.is_exact else f"orthogonal, {trace.probes} probes",
        },
        "rows": rows,
        "environment": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        },
    }
    if sizes is not None:
        surprise = -np.concatenate([out.log_density for out in outs])
        report["spearman_of_minus_log_p_with_png_bytes"] = summary.spearman(
            surprise, np.concatenate(sizes)
        )
    if flow.density is not None:
        errors = [summary.closed_form_error(flow, out) for out in outs]
        report["largest_error_against_closed_form_nats"] = max(errors)
    return report


def _picture(
    loaded: Source,
    rows: list[dict[str, Any]],
    outs: list[Sample],
    images: list[np.ndarray] | None,
) -> Image.Image:
    values = [row["bits_per_dim" if images else "log_density_nats"] for row in rows]
    finite = [value for value in values if np.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)

    def level(value: float) -> float:
        return (value - low) / (high - low) if high > low and np.isfinite(value) else 0.0

    labels = []
    for row, value in zip(rows, values, strict=True):
        lines = [f"log p = {row['log_density_nats']:.1f} nats"]
        if images is not None:
            error = row["standard_error_bits_per_dim"]
            lines = [
                f"{value:.3f} \u00b1 {error:.3f} bits/dim",
                f"PNG {row['png_bytes']:,.0f} bytes",
            ]
        labels.append(plotting.Label(f"q = {row['q']:g}", tuple(lines), level(value)))
    if images is None:
        return plotting.scatter_grid(
            [out.x.reshape(len(out.x), -1) for out in outs],
            labels,
            title=loaded.name,
            subtitle="the same latents at each requested log-density; two main directions",
            note="log p: mean achieved log-density of the base flow, in nats",
        )
    return plotting.image_grid(
        [row[:COLUMNS] for row in images],
        labels,
        loaded.levels,
        title=loaded.name,
        subtitle="Every column is one latent; only the requested log-density changes along it.",
        note="bits/dim: achieved -log2 p per dimension, mean over the row \u00b1 standard error "
        "of the trace estimate; the bar shows the same number.",
    )
