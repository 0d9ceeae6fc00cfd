"""Scale on paper: images per second on many chips, from counted operations and vendors' sheets.

Reads counts.json (see `studies.benchmarks.counts`), times the shipped models and the writing of
a shard on this machine, and puts the tables of docs/scale.md between their markers.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from upath import UPath

import densityguide as dg
from densityguide.app.jobs import arrays
from studies.benchmarks import report

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
COUNTS = Path(__file__).with_name("counts.json")
EVALUATIONS, CHIPS, BATCH, REPEATS = 64, (1, 8, 256, 4096), 4, 5
USED = (0.3, 0.6)  # of the peak, assumed
SIDES = {"emoji32": 32, "DiT-XL/2, 256 px": 256, "SD-2.1, 512 px": 512, "SD-2.1, 768 px": 768}


class Chip(NamedTuple):
    """Peaks of one chip: bfloat16 and float32 products a second, bytes a second and of memory."""

    bfloat16: float
    float32: float
    bandwidth: float
    memory: float
    per_host: int


SHEETS = {
    "TPU v5e": Chip(197e12, 197e12 / 6, 819e9, 16e9, 8),
    "TPU v5p": Chip(459e12, 459e12 / 6, 2765e9, 95e9, 4),
    "H100 SXM": Chip(989.4e12, 66.9e12, 3350e9, 80e9, 8),
}
REQUESTS = (
    ("plain, bfloat16", "0", "bfloat16"),
    ("plain", "0", "float32"),
    ("log p, 2 probes", "2", "float32"),
)


def stored(name: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """What a job keeps of one sample: the state, the picture, and six numbers."""
    side = SIDES[name]
    numbers = {field: np.zeros(1, np.float32) for field in ("log_density", "unmet", "status")}
    numbers |= {field: np.zeros(1, np.int32) for field in ("evaluations", "tangents", "error")}
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    return numbers | {"x": np.zeros((1, *shape), np.float32), "images": images}


def size(sample: dict[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in sample.values())


def written() -> float:
    """Bytes a second at which this machine makes a shard, digests it and puts it on its disk."""
    sample = stored("SD-2.1, 512 px", (64, 64, 4))
    shard = {name: np.repeat(array, 64, axis=0) for name, array in sample.items()}
    times = []
    with tempfile.TemporaryDirectory() as place:
        for _ in range(REPEATS):
            started = time.perf_counter()
            arrays.write(UPath(place) / "shard.npz", shard)
            times.append(time.perf_counter() - started)
    return 64 * size(sample) / float(np.median(times))


def evaluations() -> list[tuple[object, ...]]:
    """Rows with the compiler's counts for one evaluation."""
    rows = []
    for name, found in json.loads(COUNTS.read_text()).items():
        for probes, row in found["counts"].items():
            block = row["block"]
            counted = {field: value / 1e9 for field, value in row.items()}
            cells = [
                shown(counted[field] / share) if field in row else "-"
                for field, share in (("bytes_unjoined", block), ("bytes", block), ("memory", 1))
            ]
            millions = f"{found['parameters'] / 1e6:.4g}"
            rows.append((name, millions, probes, f"{counted['flops'] / block:.4g}", *cells))
    return rows


def shown(value: float) -> str:
    """Two digits, and no exponents."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def seconds(row: dict[str, float], chip: Chip, precision: str) -> tuple[float, float]:
    """Seconds of a sample's share of an evaluation at a chip's peaks: computing, moving bytes."""
    share = 1 / row["block"]
    return (
        share * row["flops"] / getattr(chip, precision),
        share * row.get("bytes", 0) / chip.bandwidth,
    )


def projections(chip: Chip) -> list[tuple[object, ...]]:
    rows = []
    for name, found in json.loads(COUNTS.read_text()).items():
        for what, probes, precision in REQUESTS:
            row = found["counts"][probes]
            compute, moving = seconds(row, chip, precision)
            limit = "HBM" if moving > compute else "compute"
            if "bytes" not in row:
                limit = "compute at best"
            if row.get("memory", 0) > chip.memory:
                limit += ", and a block of 4 is too large"
            one = 1 / (EVALUATIONS * max(compute, moving))
            speeds = [" to ".join(shown(one * n * used) for used in USED) for n in CHIPS]
            store = one * CHIPS[-1] * USED[1] * size(stored(name, found["shape"]))
            rows.append((name, what, limit, *speeds, shown(store / 1e6)))
    return rows


def hosts(rate: float) -> list[tuple[object, ...]]:
    """Bytes a second of one host with all its chips at work, by what its one writer can do."""
    rows, known = [], json.loads(COUNTS.read_text())
    for name, found in known.items():
        row, each = found["counts"]["0"], size(stored(name, found["shape"]))
        for chip_name, chip in SHEETS.items():
            speed = chip.per_host * USED[1] / (EVALUATIONS * max(seconds(row, chip, "float32")))
            share = shown(100 * speed * each / rate)
            rows.append((name, chip_name, shown(each / 1e3), shown(speed * each / 1e6), share))
    return rows


def shipped() -> list[tuple[object, ...]]:
    """Seconds a sample of the shipped models, plain and with log p, in turn."""
    rows = []
    for name, trace in (("digits8", dg.exact()), ("emoji32", dg.orthogonal(2))):
        flow = dg.models.load(name)
        keys = jax.random.split(jax.random.key(0), BATCH)
        programs = {}
        for divergence in (None, trace):
            found = dg.cost(flow, divergence=divergence, steps=EVALUATIONS - 1, batch=BATCH)

            def state(flow, key, divergence=divergence):
                out = dg.sample(
                    flow, dg.latent(flow, key), divergence=divergence, key=key, steps=63
                )
                return out.x if divergence is None else (out.x, out.log_density)

            program = jax.jit(jax.vmap(state, (None, 0))).lower(flow, keys).compile()
            programs[divergence] = found, program
        times: dict[object, list[float]] = {divergence: [] for divergence in programs}
        for _ in range(REPEATS):
            for divergence, (_, program) in programs.items():
                started = time.perf_counter()
                jax.block_until_ready(program(flow, keys))
                times[divergence].append((time.perf_counter() - started) / BATCH)
        for divergence, (found, _) in programs.items():
            low, middle, high = np.percentile(times[divergence], [25, 50, 75])
            ratio = np.median(np.divide(times[divergence], times[None]))
            rows.append(
                (
                    name,
                    "plain" if divergence is None else "log p",
                    found.evaluations,
                    found.tangents,
                    f"{found.flops / 1e9:.3g}",
                    f"{middle:.2g} ({low:.2g} to {high:.2g})",
                    f"{ratio:.3g}",
                )
            )
            print(*rows[-1], flush=True)
    return rows


def main(*names: str) -> None:
    """The named tables, or all."""
    wanted = set(names or ("shipped", "evaluations", "projections", "hosts"))
    if "shipped" in wanted:
        heads = ["model", "what", "evaluations", "tangents", "GFLOP a sample"]
        heads += ["seconds a sample (quartiles)", "by plain's"]
        report.write("shipped", heads, shipped(), page=PAGE)
    if "evaluations" in wanted:
        heads = ["network", "million parameters", "probes", "GFLOP"]
        heads += ["GB moved, as written", "compiled", f"GB of memory, block of {BATCH}"]
        report.write("evaluations", heads, evaluations(), page=PAGE, verb="Counted")
    if "projections" in wanted:
        heads = ["network", "what", "bound by", "1 chip", *map(str, CHIPS[1:]), "MB/s at 4096"]
        for name, chip in SHEETS.items():
            report.write(name, heads, projections(chip), page=PAGE, verb="Projected")
    if "hosts" in wanted:
        rate = written()
        heads = ["network", "chip", "kB a sample", "MB/s a host"]
        heads += [f"% of one writer here ({rate / 1e6:.0f} MB/s)"]
        report.write("hosts", heads, hosts(rate), page=PAGE)


if __name__ == "__main__":
    main(*sys.argv[1:])
