"""``densityguide align``: does moving the latent along a direction raise log p?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from densityguide.app import requests, source, summary
from densityguide.app.commands import blocks, inputs, tables
from densityguide.app.commands.blocks import Tick
from densityguide.app.names import shown
from densityguide.app.requests import Request, Settings
from densityguide.app.summary import Results
from densityguide.disk import folders as folder
from densityguide.disk.files import expanded
from densityguide.flow.flow import Flow
from densityguide.verify import alignment_report as reports

__all__ = ["run", "show"]

COUNT, LARGE_COUNT = 256, 64  # latents, up to 256 dimensions and above
SCORE, LATENT = "score", "latent"


def run(
    request: Request,
    directions: Sequence[str],
    out: Path | None,
    progress: Callable[[int], Tick],
) -> Results:
    """Align along every direction and report; with ``out`` also write the arrays.

    ValueError or FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    requests.check(request)
    if out is not None:
        folder.check_file(out, ours=folder.holds("direction", "value", "cosine", "status"))
    loaded = source.load(request.model, request.condition)
    flow = loaded.flow
    vectors = [_direction(name, flow) for name in directions]
    default = COUNT if flow.is_small else LARGE_COUNT
    settings = requests.settings(request, loaded, count=default)
    seconds = {"load": time.perf_counter() - started, "trace": 0.0, "compile": 0.0, "run": 0.0}

    tick = progress(blocks.blocks_of(settings.count) * len(directions))
    found, caches = [], []
    for vector in vectors:
        aligned, spent, cache = _aligned(flow, settings, vector, tick)
        found.append(aligned)
        caches.append(cache)
        seconds = {name: seconds[name] + spent.get(name, 0.0) for name in seconds}
    seconds["total"] = time.perf_counter() - started

    report = summary.heading(loaded, settings)
    del report["settings"]["trace"]  # the form with the score takes no trace
    report["directions"] = [
        _row(name, aligned) for name, aligned in zip(directions, found, strict=True)
    ]
    report["seconds"] = seconds
    report["compilation_cache"] = "cold" if "cold" in caches else caches[0]
    return Results(summary.plain(report), _write(out, directions, settings, found))


def _direction(name: str, flow: Flow) -> Any:
    """None for the prior's score, a function of the latent, or an array."""
    if name == SCORE:
        return None
    if name == LATENT:
        return lambda x: x
    path = expanded(name)
    if path.suffix.lower() != ".npy":
        raise ValueError(f"--direction must be score, latent or a .npy file, got {name!r}")
    array = inputs.read_array(path)
    if array.shape != flow.shape or array.dtype.kind not in "uif":
        raise ValueError(
            f"--direction: {path} must hold numbers of the model's shape {list(flow.shape)}, got "
            f"{array.dtype} of {list(array.shape)}"
        )
    array = np.asarray(array, np.float32)
    if not (np.isfinite(array).all() and array.any()):
        raise ValueError(f"--direction: {path} must be finite and not all zero")
    return jnp.asarray(array)


def _aligned(
    flow: Flow, settings: Settings, vector: Any, tick: Tick
) -> tuple[reports.AlignmentReport, dict[str, float], str]:
    """One direction; every direction has the same latents."""
    given = vector if callable(vector) else None
    numbers = None if callable(vector) else vector

    def one(flow: Flow, numbers: jax.Array | None, key: jax.Array) -> Any:
        along = numbers if given is None else given
        return reports.align_one(flow, key, direction=along, **settings.options)

    def keys(start: int, stop: int) -> tuple[jax.Array]:
        return (blocks.sample_keys(settings.seed, start, stop),)

    shared = (flow, numbers)
    compiled = blocks.compile_block(one, shared, keys(0, blocks.block_of(settings.count)))
    clock = time.perf_counter()
    value, cosine, status = blocks.run(compiled, shared, keys, settings.count, tick)
    spent = compiled.seconds | {"run": time.perf_counter() - clock}
    return reports.summarise(value, cosine, status), spent, compiled.cache


def _row(name: str, aligned: reports.AlignmentReport) -> dict[str, Any]:
    fine = np.isfinite(aligned.value)
    quartiles = np.percentile(aligned.value[fine], [25, 50, 75]) if fine.any() else [np.nan] * 3
    return {
        "direction": name,
        "latents": len(fine),
        "aligned": int((aligned.value > 0).sum()),
        "failed": int((~fine).sum()),
        "fraction": float(aligned.fraction),
        "low": float(aligned.low),
        "high": float(aligned.high),
        "quartiles_nats_per_unit": [float(value) for value in quartiles],
        "mean_cosine": float(aligned.cosine[fine].mean()) if fine.any() else np.nan,
        "status": summary.statuses(aligned.status),
    }


def _write(
    out: Path | None,
    directions: Sequence[str],
    settings: Settings,
    found: Sequence[reports.AlignmentReport],
) -> list[Path]:
    if out is None:
        return []
    arrays = {
        name: np.stack([getattr(aligned, name) for aligned in found])
        for name in ("value", "cosine", "status")
    }
    arrays["direction"] = np.asarray(directions)
    arrays["seed"] = np.asarray(settings.seed, np.uint32)
    return folder.write(out.parent, {out.name: lambda path: folder.write_npz(path, arrays)})


def show(console: Console, report: dict[str, Any], paths: Sequence[Path]) -> None:
    """Print one row a direction, and what the first says."""
    settings, rows = report["settings"], report["directions"]
    what = f"{settings['count']:,} latents", f"seed {settings['seed']}"
    console.print(tables.headline(report, *what))
    heads = "direction", "aligned", "95% interval", "nats per unit: median", "quartiles", "cosine"
    table = tables.new(*heads, words=("direction",))
    for row in rows:
        low, median, high = row["quartiles_nats_per_unit"]
        table.add_row(
            shown(row["direction"]),
            f"{row['fraction']:.1%}",
            f"{row['low']:.1%} .. {row['high']:.1%}",
            tables.number(median, 1),
            f"{tables.number(low, 1)} .. {tables.number(high, 1)}",
            tables.number(row["mean_cosine"], 3),
        )
    console.print(table)
    console.print("Aligned: log p of the sample rises as its latent moves along the direction.")
    score = [row for row in rows if row["direction"] == SCORE]
    if score:
        console.print(f"Along the prior's score, towards smaller latents: {_verdict(score[0])}.")
    failed = sum(row["failed"] for row in rows)
    if failed:
        console.print(
            f"{failed:,} latents could not be solved and count as not aligned: raise --steps",
            style="yellow",
        )
    tables.seconds(console, report)
    tables.wrote(console, paths)


def _verdict(row: dict[str, Any]) -> str:
    if row["low"] > 0.5:
        share = "all" if row["fraction"] == 1.0 else "most"
        return f"scaling the latent steers log p for {share} of them"
    if row["high"] < 0.5:
        return "scaling the latent moves log p the other way for most of them"
    return "scaling the latent does not steer log p"
