"""``densityguide sample``: the same latents at several log-densities: pictures, arrays, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import plotting
from densityguide.app import imprint, requests, source, summary
from densityguide.app.commands import blocks, sample_pictures
from densityguide.app.commands.blocks import Compiled, Tick
from densityguide.app.dial import Dial
from densityguide.app.requests import Request, Settings
from densityguide.app.source import Source
from densityguide.app.summary import Results
from densityguide.disk import folders as folder
from densityguide.flow.flow import Flow
from densityguide.steer import land as landing
from densityguide.steer import sample as sampling

__all__ = ["compile_row", "default_count", "draw_row", "run"]

COUNT, CLOUD = 6, 128  # pictures, points
PICTURES = 64  # decoded at a time


def run(request: Request, dial: Dial, out: Path, progress: Callable[[int], Tick]) -> Results:
    """Sample at every value of the dial, write into ``out`` and report.

    ``progress(total)`` gives the function to call after each block. ValueError or
    FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    requests.check(request)
    folder.check(out)
    loaded = source.load(request.model, request.condition, text=request.text)
    flow, dial = loaded.flow, dial.fitted(loaded.flow)
    values = dial.asked(flow)
    settings = requests.settings(
        request, loaded, count=default_count(loaded), guidance=dial.guidance(values[0])
    )
    seconds = {"load": time.perf_counter() - started}

    compiled = compile_row(flow, settings, dial)
    seconds |= compiled.seconds

    clock = time.perf_counter()
    tick = progress(blocks.blocks_of(settings.count) * len(values))
    outs, row_seconds = [], []
    for value in values:
        since = time.perf_counter()
        outs.append(draw_row(compiled, flow, settings, value, tick))
        row_seconds.append(time.perf_counter() - since)
    seconds["run"] = time.perf_counter() - clock

    clock = time.perf_counter()
    images = _images(loaded, outs)
    sizes = None if images is None else [_sizes(row) for row in images]
    named = [{dial.name: value} for value in values]
    lengths = [None] * len(outs) if sizes is None else sizes
    each = zip(named, outs, lengths, row_seconds, strict=True)
    rows = [summary.row(flow, *one) for one in each]
    report = _report(loaded, settings, dial, values, rows, outs, sizes)
    arrays = _arrays(settings, dial, values, outs, images)
    files = _drawings(request, loaded, dial, report, outs, images)

    def write_report(path: Path) -> None:
        seconds["write"] = time.perf_counter() - clock
        seconds["total"] = time.perf_counter() - started
        report["seconds"] = dict(seconds)
        report["compilation_cache"] = compiled.cache
        folder.write_json(path, summary.plain(report))

    files["samples.npz"] = lambda path: folder.write_npz(path, arrays)
    files["report.json"] = write_report
    report["files"] = list(files)
    paths = folder.write(out, files)
    return Results(summary.plain(report), paths)


def default_count(loaded: Source) -> int:
    """Few pictures, or a cloud of points."""
    return COUNT if loaded.is_image else CLOUD


def compile_row(flow: Flow, settings: Settings, dial: Dial) -> Compiled:
    """The program of one block at any value of the dial."""

    def one(flow: Flow, value: jax.Array, key: jax.Array) -> Any:
        # The same key in every row: rows differ by the value alone, down to the probes.
        if dial.land:
            return landing.draw(flow, key, value, divergence=settings.trace, **settings.options)
        return sampling.draw(
            flow,
            key,
            guidance=dial.guidance(value),
            divergence=settings.trace,
            **settings.options,
        )

    block = blocks.block_of(settings.count)
    keys = jax.eval_shape(lambda: blocks.sample_keys(settings.seed, 0, block))
    return blocks.compile_block(
        one, (flow, jax.ShapeDtypeStruct((), jnp.result_type(float))), (keys,)
    )


def draw_row(compiled: Compiled, flow: Flow, settings: Settings, value: float, tick: Tick) -> Any:
    """``settings.count`` samples at one value, as NumPy arrays with a leading axis."""

    def keys(start: int, stop: int) -> tuple[jax.Array]:
        return (blocks.sample_keys(settings.seed, start, stop),)

    shared = (flow, jnp.asarray(value, jnp.result_type(float)))
    return blocks.run(compiled, shared, keys, settings.count, tick)


def _images(loaded: Source, outs: list[Any]) -> list[np.ndarray] | None:
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


def _drawings(
    request: Request,
    loaded: Source,
    dial: Dial,
    report: dict[str, Any],
    outs: list[Any],
    images: list[np.ndarray] | None,
) -> dict[str, Callable[[Path], Any]]:
    """Functions that write the grid and, of images, the page with the slider."""
    rows = report["rows"]
    grid = sample_pictures.grid(loaded, dial, rows, outs, images)
    made_by = imprint.command("sample", *imprint.options(request), *dial.words().split())
    told = _told(loaded, dial, report)
    files: dict[str, Callable[[Path], Any]] = {
        "grid.png": lambda path: imprint.save(grid, path, made_by, *told)
    }
    if images is not None:
        values = [row[dial.name] for row in rows]
        files["dial.html"] = sample_pictures.dial_page(loaded, dial, values, outs, images).save
    return files


def _told(
    loaded: Source, dial: Dial, report: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the grid says of itself: settings, and a record for each row of the report."""
    kept = (dial.name, "log_density_nats", "standard_error_nats", "bits_per_dim", "failed")
    rows = [{name: row[name] for name in kept} for row in report["rows"]]
    settings = {"model": loaded.name, **report["settings"]}
    return summary.plain(settings), summary.plain(rows)


def _sizes(images: np.ndarray) -> np.ndarray:
    return np.asarray([plotting.png_bytes(image) for image in images])


def _arrays(
    settings: Settings,
    dial: Dial,
    values: tuple[float, ...],
    outs: list[Any],
    images: list[np.ndarray] | None,
) -> dict[str, np.ndarray]:
    """The arrays of samples.npz, each [rows, columns, ...]."""
    errors = ("standard_error", "solver_error", "total_error")
    spent = ("evaluations", "tangents", "status")
    fields = ("x", "log_density", *errors, "tracked", "parameter", "unmet", *spent)
    there = [name for name in fields if getattr(outs[0], name, None) is not None]
    arrays = {name: np.stack([getattr(out, name) for out in outs]) for name in there}
    if images is not None:
        arrays["images"] = np.stack(images)
    arrays["noise_level"] = np.asarray(outs[0].noise_level[0])
    arrays[dial.name] = np.asarray(values)
    arrays["seed"] = np.asarray(settings.seed, np.uint32)
    return arrays


def _report(
    loaded: Source,
    settings: Settings,
    dial: Dial,
    values: tuple[float, ...],
    rows: list[dict[str, Any]],
    outs: list[Any],
    sizes: list[np.ndarray] | None,
) -> dict[str, Any]:
    flow = loaded.flow
    report = summary.heading(loaded, settings) | {"rows": rows}
    report |= summary.beyond(settings, *(out.total_error for out in outs))
    report["settings"] |= {dial.name: list(values), "land": dial.land}
    if sizes is not None:
        surprise = -np.concatenate([out.log_density for out in outs])
        report["spearman_of_minus_log_p_with_png_bytes"] = plotting.spearman(
            surprise, np.concatenate(sizes)
        )
    if flow.density is not None:
        errors = [summary.closed_form_error(flow, out) for out in outs]
        report["largest_error_against_closed_form_nats"] = float(np.nanmax([*errors, -np.inf]))
    return report
