"""``densityguide edit``: pictures of one's own at other log-densities: a page, arrays, a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from densityguide.app import dial, imprint, requests, source, summary
from densityguide.app.commands import blocks, cut, edit_report, inputs, own
from densityguide.app.commands.blocks import Compiled, Tick
from densityguide.app.commands.inputs import Inputs
from densityguide.app.commands.own import Own
from densityguide.app.requests import Request, Settings
from densityguide.app.source import Source
from densityguide.app.summary import Results
from densityguide.disk import folders as folder
from densityguide.flow.flow import Flow
from densityguide.steer import rules
from densityguide.steer.edit import Edit
from densityguide.steer.edit import edit as edited
from densityguide.steer.turn import parts

__all__ = ["MOST", "Way", "run"]

MOST = 64  # samples: each is a row of the page
FIELDS = "x log_density standard_error solver_error total_error before before_error tracked moved"
FIELDS += " round_trip unmet evaluations status"
LOST = 0.02  # of a sample's own size: a round trip that ends farther off is none


class Way(NamedTuple):
    """Where to go on the dial (without a place: the usual ones of the model), from which log-SNR
    (None is the noise end), and how many own samples of the model to compare with."""

    q: tuple[float, ...]
    depth: float | None
    own: int


def run(
    request: Request,
    paths: Sequence[Path],
    array: str | None,
    way: Way,
    out: Path,
    progress: Callable[[int], Tick],
) -> Results:
    """Edit at every q, write into ``out`` and report.

    ValueError or FileNotFoundError, one line, before anything is written.
    """
    started = time.perf_counter()
    requests.check(request)
    requests.check_range("--own", way.own, 0, 10_000)
    if way.own == 1:
        raise ValueError("--own must be 2 or more (one has no spread), or 0 for none; got 1")
    folder.check(out)
    loaded = source.load(request.model, request.condition)
    way = way._replace(q=way.q or dial.usual(loaded.flow))
    parts(loaded.flow, way.depth)  # refuses a depth that is none, before anything is compiled
    given = cut.open_any(paths, array, loaded)
    if given.count > MOST:
        raise ValueError(f"edit takes up to {MOST} samples, got {given.count}: give it fewer files")
    settings = requests.settings(
        request, loaded, count=given.count, guidance=rules.quantile(way.q[0])
    )
    keys = blocks.sample_keys(settings.seed, 0, given.count)
    x = inputs.on_model_scale(given, loaded, keys)
    seconds = {"load": time.perf_counter() - started}

    compiled = _compile(loaded.flow, settings, way, x)
    seconds |= compiled.seconds
    clock = time.perf_counter()
    count = blocks.blocks_of(given.count)
    tick = progress(count * (1 + len(way.q)) + (blocks.blocks_of(way.own) if way.own else 0))
    outs = [_edited(compiled, loaded.flow, settings, q, x, tick) for q in way.q]
    seconds["edit"] = time.perf_counter() - clock
    clock = time.perf_counter()
    others = own.drawn(loaded.flow, settings, way.own, tick) if way.own else None
    beside = own.given(loaded.flow, x, given.integers, settings, tick) if way.own else None
    seconds["own samples"] = time.perf_counter() - clock
    seconds["total"] = time.perf_counter() - started

    report = _report(loaded, settings, given, way, x, outs, others, beside)
    report["seconds"], report["compilation_cache"] = seconds, compiled.cache
    report = summary.plain(report)
    made_by = _command(request, paths, array, way)
    return Results(report, _write(out, loaded, given, way, x, outs, report, made_by))


def _command(request: Request, paths: Sequence[Path], array: str | None, way: Way) -> str:
    named = ["--q", ",".join(map(repr, way.q)), "--own", str(way.own)]
    named += [] if way.depth is None else ["--depth", repr(way.depth)]
    named += [] if array is None else ["--array", array]
    # After --, a file may be called as it likes.
    return imprint.command("edit", *imprint.options(request), *named, "--", *map(str, paths))


def _compile(flow: Flow, settings: Settings, way: Way, x: np.ndarray) -> Compiled:
    """The program of one block at any q."""

    def one(flow: Flow, q: jax.Array, x: jax.Array, key: jax.Array) -> Any:
        # Of the key that the picture was dequantised with, another part.
        return edited(
            flow,
            x,
            guidance=rules.quantile(q),
            depth=way.depth,
            divergence=settings.trace,
            key=jax.random.fold_in(key, 1),
            **settings.options,
        )

    number = jax.ShapeDtypeStruct((), jnp.result_type(float))
    each = _reader(settings, x)(0, blocks.block_of(len(x)))
    return blocks.compile_block(one, (flow, number), each)


def _reader(settings: Settings, x: np.ndarray) -> Callable[[int, int], tuple[Any, ...]]:
    def read(start: int, stop: int) -> tuple[Any, ...]:
        rows = np.minimum(np.arange(start, stop), len(x) - 1)
        return jnp.asarray(x[rows]), blocks.sample_keys(settings.seed, start, stop)

    return read


def _edited(
    compiled: Compiled, flow: Flow, settings: Settings, q: float, x: np.ndarray, tick: Tick
) -> Edit:
    shared = (flow, jnp.asarray(q, jnp.result_type(float)))
    out: Edit = blocks.run(compiled, shared, _reader(settings, x), len(x), tick)
    return out


def _report(
    loaded: Source,
    settings: Settings,
    given: Inputs,
    way: Way,
    x: np.ndarray,
    outs: list[Any],
    others: Own | None,
    beside: np.ndarray | None,
) -> dict[str, Any]:
    report = summary.heading(loaded, settings)
    report["settings"] |= {"q": list(way.q), "depth": way.depth}
    report["own_samples"] = None if others is None else others._asdict()
    report["samples"] = []
    for index, name in enumerate(given.names):
        row: dict[str, Any] = {
            "name": name,
            "cut": cut.told(name, loaded.flow.shape) if given.integers else None,
            "log_density_nats": float(outs[0].before[index]),
            "total_error_nats": float(outs[0].before_error[index]),
            "bits_per_dim": float(summary.bits(loaded.flow, outs[0].before[index])),
            "round_trip": float(outs[0].round_trip[index]),
            "lost": bool(outs[0].round_trip[index] > LOST * np.sqrt(np.mean(x[index] ** 2))),
            "edits": [
                _edit(loaded.flow, q, out, index) for q, out in zip(way.q, outs, strict=True)
            ],
        }
        if beside is not None:
            nats = float(beside[index])
            row |= {
                "beside_own_nats": nats,
                "short": own.short(nats, others),
                "verdict": own.verdict(nats, others, loaded.flow),
            }
        report["samples"].append(row)
    return report


def _edit(flow: Flow, q: float, out: Any, index: int) -> dict[str, Any]:
    return {
        "q": q,
        "log_density_nats": float(out.log_density[index]),
        "total_error_nats": float(out.total_error[index]),
        "bits_per_dim": float(summary.bits(flow, out.log_density[index])),
        "moved": float(out.moved[index]),
        "unmet_nats": float(out.unmet[index]),
        "evaluations": int(out.evaluations[index]),
        "tangents": int(out.tangents[index]),
        "status": sorted(summary.statuses(out.status[index : index + 1])),
    }


def _write(
    out: Path,
    loaded: Source,
    given: Inputs,
    way: Way,
    x: np.ndarray,
    outs: list[Any],
    report: dict[str, Any],
    made_by: str,
) -> list[Path]:
    arrays = {
        name: np.stack([getattr(one, name) for one in outs], axis=1) for name in FIELDS.split()
    }
    arrays |= {"given": x, "q": np.asarray(way.q), "names": np.asarray(given.names)}
    files: dict[str, Callable[[Path], None]] = {}
    if loaded.is_image and loaded.pictures is not None:
        drawn = np.stack([np.asarray(loaded.pictures(one.x)) for one in outs], axis=1)
        first = np.asarray(loaded.pictures(jnp.asarray(x)))
        arrays |= {"images": drawn, "given_images": first}
        page = edit_report.page(loaded, first, drawn, report)
        files["edit.png"] = lambda path: imprint.save(
            page, path, made_by, {"model": loaded.name, **report["settings"]}, _lines(report)
        )
    files["edit.npz"] = lambda path: folder.write_npz(path, arrays)
    files["report.json"] = lambda path: folder.write_json(path, report)
    report["files"] = list(files)
    return folder.write(out, files)


def _lines(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A record for every picture of the page; the given ones have no q."""
    lines: list[dict[str, Any]] = []
    for sample in report["samples"]:
        head = {key: value for key, value in sample.items() if key != "edits"}
        lines += [head, *({"name": sample["name"], **one} for one in sample["edits"])]
    return lines
