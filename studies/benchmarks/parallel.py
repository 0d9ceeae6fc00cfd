"""Two devices against one, and what a job costs beside the compiled program that it runs.

The machine is shared, so all is timed in turn and reported as medians with quartiles. What a job
adds to a block does not depend on how long the block takes: it is the time of a job of short blocks
less that of their program alone, divided by the time of a default block.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Two devices of one core each: otherwise the first would take both.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false"
)

import jax
import numpy as np
from upath import UPath

from densityguide import parallel
from densityguide.app.jobs import Output, Sampling, Solve, sampling
from densityguide.app.jobs.run import computed
from densityguide.app.jobs.shards import Plan
from studies.benchmarks import report

MODEL, BLOCK, BLOCKS = "emoji32", 8, 2
SHORT, MEDIUM, DEFAULT = 1, 15, 63  # steps
REPEATS, MANY = 7, 25


def job(steps: int) -> Sampling:
    return Sampling(
        MODEL,
        count=BLOCKS * BLOCK,
        images=True,
        solve=Solve(steps=steps, divergence="orthogonal", probes=2),
        output=Output(shard=BLOCKS * BLOCK, block=BLOCK),
    )


def spent(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock, and of processors."""
    clock, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - busy


def shown(values: Any) -> tuple[str, str]:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3g}", f"{low:.3g} to {high:.3g}"


class Timed:
    """A job's work in memory, its blocks, and the ways to go through them."""

    def __init__(self, steps: int) -> None:
        self.job = job(steps)
        self.work = sampling.prepare(self.job, {})
        first = jax.local_devices()[0]
        numbers = range(0, BLOCKS * BLOCK, BLOCK)
        self.blocks = [self.work.inputs(np.arange(n, n + BLOCK)) for n in numbers]
        self.shared = jax.device_put(self.work.shared, first)
        self.placed = [
            lambda block=block: jax.device_put(jax.tree.map(lambda a: a[None], block), first)
            for block in self.blocks
        ]
        self.program = parallel._program(self.work.one, first)

    def bare(self) -> None:
        """The program alone."""
        for place in self.placed:
            jax.block_until_ready(self.program(self.shared, place()))

    def through(self, *devices: jax.Device) -> None:
        list(parallel.stream(self.work.one, self.work.shared, self.blocks, devices=devices))

    def written(self, folder: Path) -> None:
        """All that a job does: compute, fetch, make pictures, write and synchronise."""
        output = self.job.output
        plan = Plan(UPath(folder), self.work.samples, output.shard, output.format)
        first = jax.local_devices()[:1]
        for shard, found in computed(self.work, self.job, [plan.shard(0)], devices=first):
            plan.write(shard, self.work.finish(found))


def devices() -> list[tuple[str, ...]]:
    timed, both = Timed(MEDIUM), jax.local_devices()
    timed.through(*both)  # compiles
    pairs = [
        (spent(lambda: timed.through(both[0])), spent(lambda: timed.through(*both)))
        for _ in range(REPEATS)
    ]
    one, two = np.array(pairs).transpose(1, 2, 0)
    return [
        ("throughput, 2 devices / 1", *shown(one[0] / two[0])),
        ("processor time, 2 devices / 1", *shown(two[1] / one[1])),
    ]


def overhead() -> list[tuple[str, ...]]:
    short, default = Timed(SHORT), Timed(DEFAULT)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        short.written(folder)
        default.bare()
        extra = []
        for _ in range(MANY):
            alone, whole = spent(short.bare)[0], spent(lambda: short.written(folder))[0]
            extra.append((whole - alone) / BLOCKS)
        block = float(np.median([spent(default.bare)[0] for _ in range(3)])) / BLOCKS
    return [
        ("a job's milliseconds a block beside the program's", *shown(1e3 * np.array(extra))),
        ("these by a default block (%)", *shown(100 * np.array(extra) / block)),
    ]


def main() -> None:
    rows = [*overhead(), *devices()]
    report.write("parallel", [f"{MODEL}, 2 probes, blocks of {BLOCK}", "median", "quartiles"], rows)


if __name__ == "__main__":
    main()
