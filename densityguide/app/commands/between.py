"""``densityguide between``: the short curve between two samples, as a strip of pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from densityguide import spacetime
from densityguide.app import imprint, requests, source, summary
from densityguide.app.commands import blocks, inputs, tables
from densityguide.app.commands.blocks import Tick
from densityguide.app.requests import Request, Settings
from densityguide.app.source import Source
from densityguide.app.summary import Results
from densityguide.density.trace import Trace, hutchinson
from densityguide.disk import folders as folder
from densityguide.plotting.strip import strip
from densityguide.spacetime import Frames, Geodesic

__all__ = ["Way", "run", "show"]


class Way(NamedTuple):
    """How to go: noise level of both ends, chords of the curve, pictures of the strip."""

    log_snr: float
    segments: int
    frames: int


def run(
    request: Request,
    paths: Sequence[Path],
    array: str | None,
    way: Way,
    out: Path,
    progress: Callable[[int], Tick],
) -> Results:
    """Find the curve, decode it, write pictures, arrays and report.

    ValueError or FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    requests.check(request)
    requests.check_range("--segments", way.segments, 1, 1024)
    requests.check_range("--frames", way.frames, 2, 1025)
    folder.check(out)
    loaded = source.load(request.model, request.condition)
    given = inputs.open_inputs(paths, array, loaded)
    if given.count < 2:
        raise ValueError("between takes two samples, got 1: give two files, or an array of two")
    given = given.first(2)
    settings = requests.settings(request, loaded, count=2)
    keys = blocks.sample_keys(settings.seed, 0, 2)
    x = jnp.asarray(inputs.on_model_scale(given, loaded, keys))
    flow = loaded.flow
    ends = [spacetime.point(flow, one, way.log_snr) for one in x]
    seconds = {"load": time.perf_counter() - started}

    tick = progress(2)
    clock = time.perf_counter()
    found = jax.block_until_ready(_curve(flow, ends, way, settings))
    seconds["curve"] = time.perf_counter() - clock
    tick()
    clock = time.perf_counter()
    film = jax.block_until_ready(_film(flow, found, way, settings))
    seconds["frames"] = time.perf_counter() - clock
    tick()
    seconds["total"] = time.perf_counter() - started

    report = _report(loaded, settings, given.names, way, found, film)
    report["seconds"] = seconds
    plain = summary.plain(report)
    made_by = _command(request, paths, array, way)
    return Results(plain, _write(out, loaded, way, found, film, plain, made_by))


def _command(request: Request, paths: Sequence[Path], array: str | None, way: Way) -> str:
    named = [] if array is None else ["--array", array]
    for option, value in way._asdict().items():
        named += [f"--{option.replace('_', '-')}", repr(value)]
    # After --, a file may be called as it likes.
    return imprint.command("between", *imprint.options(request), *named, "--", *map(str, paths))


def _curve_trace(trace: Trace) -> Trace:
    """Probes of a curve are independent from point to point, not cycled along it."""
    return trace if trace.is_exact else hutchinson(trace.probes)


def _curve(flow: Any, ends: list[Any], way: Way, settings: Settings) -> Geodesic:
    return spacetime.geodesic(
        flow,
        *ends,
        segments=way.segments,
        divergence=_curve_trace(settings.trace),
        closure_steps=settings.steps,
        key=jax.random.key(settings.seed),
    )


def _shown(way: Way) -> np.ndarray:
    """Which points of the curve the strip shows."""
    return np.unique(np.rint(np.linspace(0, way.segments, way.frames)).astype(int))


def _film(flow: Any, found: Geodesic, way: Way, settings: Settings) -> Frames:
    shown = jax.tree.map(lambda a: a[_shown(way)], found.curve)
    key = jax.random.fold_in(jax.random.key(settings.seed), 1)
    return spacetime.frames(flow, shown, steps=settings.steps, divergence=settings.trace, key=key)


def _report(
    loaded: Source,
    settings: Settings,
    names: Sequence[str],
    way: Way,
    found: Geodesic,
    film: Frames,
) -> dict[str, Any]:
    report = summary.heading(loaded, settings)
    report["settings"] |= way._asdict() | {"curve_trace": requests.trace_name(settings.trace)}
    if not settings.trace.is_exact:
        report["settings"]["curve_trace"] = f"hutchinson, {settings.trace.probes} probes"
    report["between"] = list(names[:2])
    for name in ("bound", "standard_error", "degrees_of_freedom", "length", "speed", "lowest"):
        report[name] = float(getattr(found, name))
    report["negative_chords"] = int(found.negative)
    report["closure_nats"] = None if found.closure is None else float(found.closure)
    report["closure_error_nats"] = (
        None if found.closure_error is None else float(found.closure_error)
    )
    report["status"] = summary.statuses(np.asarray(found.status)[None])
    report["evaluations"] = int(found.evaluations + film.evaluations.sum())
    levels = np.asarray(found.curve.log_snr)[_shown(way)]
    report["frames"] = [
        {
            "log_snr": float(level),
            "log_density_nats": float(nats),
            "standard_error_nats": float(error),
        }
        for level, nats, error in zip(
            levels, _or_nan(film.log_density), _or_nan(film.standard_error), strict=True
        )
    ]
    return report


def _or_nan(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64)


def _write(
    out: Path,
    loaded: Source,
    way: Way,
    found: Geodesic,
    film: Frames,
    report: dict[str, Any],
    made_by: str,
) -> list[Path]:
    arrays = {
        "y": np.asarray(found.curve.y),
        "log_snr": np.asarray(found.curve.log_snr),
        "chords": np.asarray(found.chords),
        "x": np.asarray(film.x),
        "mean": np.asarray(film.mean),
        "log_density": np.asarray(film.log_density),
    }
    files: dict[str, Callable[[Path], None]] = {
        "curve.npz": lambda path: folder.write_npz(path, arrays),
        "report.json": lambda path: folder.write_json(path, report),
    }
    if loaded.pictures is not None and loaded.is_image:
        page = _page(loaded, way, film, report)
        files["strip.png"] = lambda path: imprint.save(
            page, path, made_by, {"model": loaded.name, **report["settings"]}, report["frames"]
        )
    report["files"] = list(files)
    return folder.write(out, files)


def _page(loaded: Source, way: Way, film: Frames, report: dict[str, Any]) -> Any:
    assert loaded.pictures is not None
    decoded, means = (np.asarray(loaded.pictures(part)) for part in (film.x, film.mean))
    captions = [
        (f"{tables.number(row['log_density_nats'], 0)}", f"log-SNR {row['log_snr']:.1f}")
        for row in report["frames"]
    ]
    bound = tables.with_error(report["bound"], report["standard_error"], 1)
    return strip(
        [decoded, means],
        captions,
        loaded.levels,
        names=("decoded", "denoised in one step"),
        title=f"{loaded.name}: the short way",
        subtitle=f"distance at most {bound} at log-SNR {way.log_snr:g}; below: log p in nats",
        note=f"{way.segments} chords, {report['negative_chords']} of them negative",
    )


def show(console: Console, report: dict[str, Any], paths: Sequence[Path]) -> None:
    """Print the bound, its evidence and one row a frame."""
    settings = report["settings"]
    what = f"{settings['segments']} chords", f"seed {settings['seed']}"
    console.print(tables.headline(report, *what))
    bound = tables.with_error(report["bound"], report["standard_error"], 2)
    console.print(
        f"Distance at most {bound} at log-SNR {settings['log_snr']:g}; length "
        f"{tables.number(report['length'], 2)}, lowest log-SNR {tables.number(report['lowest'], 2)}"
    )
    table = tables.new("log-SNR", "log p of the frame (nats)")
    for row in report["frames"]:
        nats = tables.with_error(row["log_density_nats"], row["standard_error_nats"], 2)
        table.add_row(tables.number(row["log_snr"], 2), nats)
    console.print(table)
    closure = tables.with_error(report["closure_nats"], report["closure_error_nats"], 1)
    console.print(
        f"Negative chords: {report['negative_chords']}; closure {closure} nats (both 0 for an "
        "exact posterior)"
    )
    if report["status"]:
        names = ", ".join(report["status"])
        console.print(f"Not to be trusted: {names}; see the page of errors", style="yellow")
    spent = report["seconds"]
    parts = ", ".join(f"{name} {spent[name]:.1f}" for name in spent if name != "total")
    console.print(f"Seconds: {parts}; {spent['total']:.1f} in all")
    tables.wrote(console, paths)
