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

from densityguide import likelihood
from densityguide.commands import blocks, folder, inputs, requests, source, summary, tables
from densityguide.commands.blocks import Tick
from densityguide.commands.inputs import Inputs
from densityguide.commands.requests import Request, Settings
from densityguide.commands.source import Source
from densityguide.commands.summary import Results
from densityguide.flows import Flow
from densityguide.solve import Status

__all__ = ["run", "show"]

SHOWN = 24  # rows of the table


class _Measured(NamedTuple):
    """Of every sample, [n]: nats on the model's own scale, and bits per dimension."""

    log_density: np.ndarray
    standard_error: np.ndarray
    degrees_of_freedom: np.ndarray
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
    given = inputs.open_inputs(paths, array, loaded).first(request.count)
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
    """Of a float sample."""

    def one(flow: Flow, x: jax.Array, key: jax.Array) -> Any:
        out = likelihood.log_density(
            flow, x, divergence=settings.trace, key=key, **settings.options
        )
        return out.value, out.standard_error, out.degrees_of_freedom, out.status

    return one


def _image(settings: Settings, draws: int) -> Callable[..., Any]:
    """Of an integer one: in bits per dimension, over draws of its dequantisation."""

    def one(flow: Flow, image: jax.Array, key: jax.Array) -> Any:
        out = likelihood.bits_per_dim(
            flow, image[None], key, draws=draws, divergence=settings.trace, **settings.options
        )
        return out.value[0], out.standard_error[0], jnp.full((), draws - 1.0), out.status[0]

    return one


def _measured(
    flow: Flow,
    given: Inputs,
    draws: int,
    value: np.ndarray,
    error: np.ndarray,
    degrees: np.ndarray,
    status: np.ndarray,
) -> _Measured:
    value, error = value.astype(np.float64), error.astype(np.float64)
    if not given.integers:
        return _Measured(value, error, degrees, np.asarray(summary.bits(flow, value)), status)
    scale = flow.size * np.log(2.0)
    nats = -value * scale - flow.transform.log_jacobian(flow.size)
    return _Measured(nats, error * scale, degrees, value, status)


def _report(
    loaded: Source, settings: Settings, given: Inputs, measured: _Measured, draws: int
) -> dict[str, Any]:
    each = loaded.flow.size * np.log(2.0)
    report = summary.heading(loaded, settings)
    report["settings"]["draws"] = draws if given.integers else None
    report["mean"] = summary.means(loaded.flow, measured.log_density, measured.standard_error)
    report["mean"]["status"] = summary.statuses(measured.status)
    report["samples"] = [
        {
            "name": name,
            "log_density_nats": float(nats),
            "standard_error_nats": float(error),
            "degrees_of_freedom": float(degrees),
            "bits_per_dim": float(bits),
            "standard_error_bits_per_dim": float(error / each),
            "status": _names(status),
        }
        for name, nats, error, degrees, bits, status in zip(given.names, *measured, strict=True)
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
    table = tables.new("sample", "log p (nats)", "bits/dim", "status", words=("sample", "status"))
    for row in samples[:SHOWN]:
        table.add_row(row["name"], *_cells(row), ", ".join(row["status"]) or "ok")
    if len(samples) > SHOWN:
        table.add_row(f"and {len(samples) - SHOWN:,} more", "", "", "")
    if len(samples) > 1:
        table.add_row("mean", *_cells(mean), "", style="bold")
    console.print(table)
    spread = mean["between_samples_nats"]
    if spread is not None:
        console.print(f"Standard deviation between samples: {tables.number(spread, 1)} nats")
    tables.failures(console, mean["failed"], "their status says why; try more --steps")
    tables.seconds(console, report)
    tables.wrote(console, paths)


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    nats = tables.with_error(row["log_density_nats"], row["standard_error_nats"], 2)
    bits = tables.with_error(row["bits_per_dim"], row["standard_error_bits_per_dim"], 4)
    return nats, bits
