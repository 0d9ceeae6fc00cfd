"""``densityguide sample``: the same latents at several q, written as pictures, arrays, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from densityguide import guidance, plotting, sampling
from densityguide.commands import blocks, folder, requests, source, summary
from densityguide.commands.blocks import Compiled, Tick
from densityguide.commands.requests import Request, Settings
from densityguide.commands.source import Source
from densityguide.commands.summary import Results
from densityguide.flows import Flow
from densityguide.sampling import Sample

__all__ = ["compile_row", "default_count", "draw_row", "run"]

COUNT, CLOUD = 8, 128  # pictures, points
COLUMNS = 16  # widest picture
PICTURES = 64  # decoded at a time


def run(
    request: Request, texts: tuple[str, ...], out: Path, progress: Callable[[int], Tick]
) -> Results:
    """Sample at every q of ``texts``, write into ``out`` and report.

    ``progress(total)`` gives the function to call after each block. ValueError or
    FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    requests.check(request)
    quantiles = requests.parse_q(texts)
    folder.check(out)
    loaded = source.load(request.model, request.condition)
    flow, settings = loaded.flow, requests.settings(request, loaded, count=default_count(loaded))
    seconds = {"load": time.perf_counter() - started}

    compiled = compile_row(flow, settings)
    seconds |= compiled.seconds

    clock = time.perf_counter()
    tick = progress(blocks.blocks_of(settings.count) * len(quantiles))
    outs, row_seconds = [], []
    for q in quantiles:
        since = time.perf_counter()
        outs.append(draw_row(compiled, flow, settings, q, tick))
        row_seconds.append(time.perf_counter() - since)
    seconds["run"] = time.perf_counter() - clock

    clock = time.perf_counter()
    images = _images(loaded, outs)
    sizes = None if images is None else [_sizes(row) for row in images]
    rows = [
        summary.row(flow, q, out, None if sizes is None else sizes[index], row_seconds[index])
        for index, (q, out) in enumerate(zip(quantiles, outs, strict=True))
    ]
    report = _report(loaded, settings, quantiles, rows, outs, sizes)
    arrays = _arrays(settings, quantiles, outs, images)
    picture = _picture(loaded, rows, outs, images)

    def write_report(path: Path) -> None:
        seconds["write"] = time.perf_counter() - clock
        seconds["total"] = time.perf_counter() - started
        report["seconds"] = dict(seconds)
        report["compilation_cache"] = compiled.cache
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


def default_count(loaded: Source) -> int:
    """Few pictures, or a cloud of points."""
    return COUNT if loaded.is_image else CLOUD


def compile_row(flow: Flow, settings: Settings) -> Compiled:
    """The program of one block at any q."""

    def one(flow: Flow, q: jax.Array, key: jax.Array) -> Sample:
        # The same key in every row: rows differ by q alone, down to the probes.
        return sampling.draw(
            flow,
            key,
            guidance=guidance.quantile(q),
            divergence=settings.trace,
            **settings.options,
        )

    block = blocks.block_of(settings.count)
    keys = jax.eval_shape(lambda: blocks.sample_keys(settings.seed, 0, block))
    return blocks.compile_block(
        one, (flow, jax.ShapeDtypeStruct((), jnp.result_type(float))), (keys,)
    )


def draw_row(compiled: Compiled, flow: Flow, settings: Settings, q: float, tick: Tick) -> Sample:
    """``settings.count`` samples at one ``q``, as NumPy arrays with a leading axis."""

    def keys(start: int, stop: int) -> tuple[jax.Array]:
        return (blocks.sample_keys(settings.seed, start, stop),)

    shared = (flow, jnp.asarray(q, jnp.result_type(float)))
    return blocks.run(compiled, shared, keys, settings.count, tick)


def _images(loaded: Source, outs: list[Sample]) -> list[np.ndarray] | None:
    """Integer images of every row; None for a model of something else."""
    decode = loaded.pictures
    if not loaded.is_image or decode is None:
        return None
    # A failed sample has its last finite state, so this is defined for all.
    return [
        np.concatenate(
            [
                np.asarray(decode(out.x[start : start + PICTURES]))
                for start in range(0, len(out.x), PICTURES)
            ]
        )
        for out in outs
    ]


def _sizes(images: np.ndarray) -> np.ndarray:
    return np.asarray([plotting.png_bytes(image) for image in images])


def _arrays(
    settings: Settings,
    quantiles: tuple[float, ...],
    outs: list[Sample],
    images: list[np.ndarray] | None,
) -> dict[str, np.ndarray]:
    """The arrays of samples.npz, each [rows, columns, ...]."""
    fields = ("x", "log_density", "standard_error", "unmet", "evaluations", "tangents", "status")
    arrays = {name: np.stack([getattr(out, name) for out in outs]) for name in fields}
    if images is not None:
        arrays["images"] = np.stack(images)
    arrays["noise_level"] = np.asarray(outs[0].noise_level[0])
    arrays["q"] = np.asarray(quantiles)
    arrays["seed"] = np.asarray(settings.seed, np.uint32)
    return arrays


def _report(
    loaded: Source,
    settings: Settings,
    quantiles: tuple[float, ...],
    rows: list[dict[str, Any]],
    outs: list[Sample],
    sizes: list[np.ndarray] | None,
) -> dict[str, Any]:
    flow = loaded.flow
    report = summary.heading(loaded, settings) | {"rows": rows}
    report["settings"]["q"] = list(quantiles)
    if sizes is not None:
        surprise = -np.concatenate([out.log_density for out in outs])
        report["spearman_of_minus_log_p_with_png_bytes"] = plotting.spearman(
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
            [np.reshape(out.x, (len(out.x), -1)) for out in outs],
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
