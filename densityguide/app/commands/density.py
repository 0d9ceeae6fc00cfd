"""``densityguide density``: log p of samples that the user brings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from densityguide.app import requests, source, summary
from densityguide.app.commands import blocks, inputs, tables
from densityguide.app.commands.blocks import Tick
from densityguide.app.commands.inputs import Inputs
from densityguide.app.names import shown
from densityguide.app.requests import Request, Settings
from densityguide.app.source import Source
from densityguide.app.summary import Results
from densityguide.density.bits import bits_per_dim
from densityguide.density.log_density import log_density
from densityguide.disk import folders as folder
from densityguide.flow.flow import Flow
from densityguide.solve import Status

__all__ = ["run", "show"]

SHOWN = 24  # rows of the table


class _Measured(NamedTuple):
    """The log p of every sample, [n]: nats on the model's own scale, and bits per dimension."""

    log_density: np.ndarray
    standard_error: np.ndarray
    degrees_of_freedom: np.ndarray
    total_error: np.ndarray
    bits_per_dim: np.ndarray
    status: np.ndarray


def run(
    request: Request,
    paths: Sequence[Path],
    array: str | None,
    draws: int,
    out: Path | None,
    progress: Callable[[int], Tick],
) -> Results:
    """Measure and report; with ``out`` also write the arrays.

    ValueError or FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    requests.check(request)
    requests.check_range("--draws", draws, 2, 10_000)
    if out is not None:
        folder.check_file(out, ours=folder.holds("names", *_Measured._fields))
    loaded = source.load(request.model, request.condition)
    given = inputs.open_inputs(paths, array, loaded, request.count)
    settings = requests.settings(request, loaded, count=given.count)
    settings = dataclasses.replace(settings, count=given.count)
    seconds = {"load": time.perf_counter() - started}

    read = _reader(given, settings)
    block = blocks.block_of(given.count)
    one = _image(settings, draws) if given.integers else _point(settings)
    compiled = blocks.compile_block(one, (loaded.flow,), read(0, block))
    seconds |= compiled.seconds
    clock = time.perf_counter()
    tick = progress(blocks.blocks_of(given.count))
    found = blocks.run(compiled, (loaded.flow,), read, given.count, tick)
    measured = _measured(loaded.flow, given, draws, *found)
    seconds["run"] = time.perf_counter() - clock
    seconds["total"] = time.perf_counter() - started

    report = _report(loaded, settings, given, measured, draws)
    report["seconds"], report["compilation_cache"] = seconds, compiled.cache
    return Results(summary.plain(report), _write(out, given, settings, measured))


def _reader(given: Inputs, settings: Settings) -> Callable[[int, int], tuple[Any, ...]]:
    def read(start: int, stop: int) -> tuple[Any, ...]:
        block = given.read(start, min(stop, given.count))
        missing = stop - start - len(block)
        block = np.concatenate([block, *([block[-1:]] * missing)])
        return jnp.asarray(block), blocks.sample_keys(settings.seed, start, stop)

    return read


def _point(settings: Settings) -> Callable[..., Any]:
    """The log p of a float sample."""

    def one(flow: Flow, x: jax.Array, key: jax.Array) -> Any:
        out = log_density(flow, x, divergence=settings.trace, key=key, **settings.options)
        return out.value, out.standard_error, out.degrees_of_freedom, out.total_error, out.status

    return one


def _image(settings: Settings, draws: int) -> Callable[..., Any]:
    """The log p of an integer sample: in bits per dimension, over draws of its dequantisation."""

    def one(flow: Flow, image: jax.Array, key: jax.Array) -> Any:
        out = bits_per_dim(
            flow, image[None], key, draws=draws, divergence=settings.trace, **settings.options
        )
        errors = out.standard_error[0], out.degrees_of_freedom[0], out.total_error[0]
        return out.value[0], *errors, out.status[0]

    return one


def _measured(
    flow: Flow,
    given: Inputs,
    draws: int,
    value: np.ndarray,
    error: np.ndarray,
    degrees: np.ndarray,
    total: np.ndarray,
    status: np.ndarray,
) -> _Measured:
    value, error, total = (a.astype(np.float64) for a in (value, error, total))
    if not given.integers:
        bits = np.asarray(summary.bits(flow, value))
        return _Measured(value, error, degrees, total, bits, status)
    scale = flow.size * np.log(2.0)
    nats = -value * scale - flow.transform.log_jacobian(flow.size)
    return _Measured(nats, error * scale, degrees, total * scale, value, status)


def _report(
    loaded: Source, settings: Settings, given: Inputs, measured: _Measured, draws: int
) -> dict[str, Any]:
    each = loaded.flow.size * np.log(2.0)
    report = summary.heading(loaded, settings)
    report["settings"]["draws"] = draws if given.integers else None
    report["mean"] = summary.means(loaded.flow, measured.log_density, measured.total_error)
    report["mean"]["status"] = summary.statuses(measured.status)
    report |= summary.beyond(settings, measured.total_error)
    report["samples"] = [
        {
            "name": name,
            "log_density_nats": float(nats),
            "standard_error_nats": float(error),
            "degrees_of_freedom": float(degrees),
            "total_error_nats": float(total),
            "bits_per_dim": float(bits),
            "total_error_bits_per_dim": float(total / each) if np.isfinite(bits) else np.nan,
            "status": _names(status),
        }
        for name, nats, error, degrees, total, bits, status in zip(
            given.names, *measured, strict=True
        )
    ]
    return report


def _names(status: np.ndarray) -> list[str]:
    return [str(flag.name) for flag in Status if flag and int(status) & flag]


def _write(out: Path | None, given: Inputs, settings: Settings, measured: _Measured) -> list[Path]:
    if out is None:
        return []
    arrays = measured._asdict() | {
        "names": np.asarray(given.names),
        "seed": np.asarray(settings.seed, np.uint32),
    }
    return folder.write(out.parent, {out.name: lambda path: folder.write_npz(path, arrays)})


def show(console: Console, report: dict[str, Any], paths: Sequence[Path]) -> None:
    """Print one row a sample, as many as fit on a page, and the mean."""
    settings, mean, samples = report["settings"], report["mean"], report["samples"]
    what = [f"{len(samples):,} sample{'s' * (len(samples) > 1)}", f"seed {settings['seed']}"]
    if settings["draws"] is not None:
        what.append(f"{settings['draws']} dequantisations")
    console.print(tables.headline(report, *what))
    # Only integer data have bits/dim.
    heads = ("log p (nats)", "bits/dim") if report["model"]["levels"] else ("log p (nats)",)
    table = tables.new("sample", *heads, "status", words=("sample", "status"))
    for row in samples[:SHOWN]:
        table.add_row(
            shown(row["name"]), *_cells(row)[: len(heads)], ", ".join(row["status"]) or "ok"
        )
    if len(samples) > SHOWN:
        table.add_row(f"and {len(samples) - SHOWN:,} more", *[""] * len(heads), "")
    if len(samples) > 1:
        table.add_row("mean", *_cells(mean, "standard_error")[: len(heads)], "", style="bold")
    console.print(table)
    console.print(
        "\u00b1 of a sample: 95 % interval of its measurement (probes, dequantisation, solver); of "
        "the mean: standard error over the samples.",
        highlight=False,
    )
    spread = mean["between_samples_nats"]
    if spread is not None:
        console.print(f"Standard deviation between samples: {tables.number(spread, 1)} nats")
    tables.failures(console, mean["failed"], "their status says why; try more --steps")
    tables.uncertain(console, report)
    tables.seconds(console, report)
    tables.wrote(console, paths)


def _cells(row: dict[str, Any], error: str = "total_error") -> tuple[str, str]:
    nats = tables.with_error(row["log_density_nats"], row[f"{error}_nats"], 2)
    bits = tables.with_error(row["bits_per_dim"], row[f"{error}_bits_per_dim"], 4)
    return nats, bits
