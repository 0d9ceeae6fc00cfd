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

from densityguide import __version__, plotting
from densityguide.commands import cache, draw, folder, requests, source, summary
from densityguide.commands.draw import Settings
from densityguide.commands.requests import Request
from densityguide.commands.source import Source
from densityguide.sampling import Sample

__all__ = ["Results", "run"]

COLUMNS = 16  # widest picture


class Results(NamedTuple):
    """The report, and where its files lie."""

    report: dict[str, Any]
    paths: list[Path]


def run(request: Request, out: Path, progress: Callable[[int], Callable[[], None]]) -> Results:
    """Sample, write into ``out`` and report.

    ``progress(total)`` gives the function to call after each block. ValueError or
    FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    requests.check(request)
    folder.check(out)
    loaded = source.load(request.model, request.condition)
    flow, settings = loaded.flow, requests.settings(request, loaded)
    seconds = {"load": time.perf_counter() - started}

    trace = draw.choose_trace(flow)
    stored = cache.current()
    before = cache.entries(stored)
    compiled = draw.compile_row(flow, settings, trace)
    seconds |= {"trace": compiled.trace_seconds, "compile": compiled.compile_seconds}
    warm = None if stored is None else cache.entries(stored) == before

    clock = time.perf_counter()
    tick = progress(settings.blocks * len(settings.q))
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
        out,
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
    return [np.asarray(loaded.pictures(out.x)) for out in outs]


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
        "settings": settings.record() | {"trace": draw.trace_name(trace)},
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
