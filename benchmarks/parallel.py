"""Two devices against one, and what a job costs beside the compiled program that it runs.

The machine is shared, so all is timed in turn and reported as a median ratio with its quartiles.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# Two devices of one core each: otherwise the first would take both.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false"
)

import jax
import numpy as np
from upath import UPath

from benchmarks import report
from densityguide import parallel
from densityguide.jobs import Output, Sampling, Solve, sampling
from densityguide.jobs.run import _computed
from densityguide.jobs.shards import Plan

MODEL, BLOCK, STEPS, BLOCKS, REPEATS = "emoji32", 8, 15, 2, 7


def spent(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processors."""
    clock, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - busy


def shown(values: list[float]) -> tuple[str, str]:
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3g}", f"{low:.3g} to {high:.3g}"


def main() -> None:
    job = Sampling(
        MODEL,
        count=BLOCKS * BLOCK,
        images=True,
        solve=Solve(steps=STEPS, divergence="orthogonal", probes=2),
        output=Output(shard=BLOCKS * BLOCK, block=BLOCK),
    )
    work = sampling.prepare(job)
    first, second = jax.local_devices()
    inputs = [work.inputs(np.arange(n * BLOCK, (n + 1) * BLOCK)) for n in range(BLOCKS)]

    def stream(*devices: jax.Device) -> list[object]:
        return list(parallel.stream(work.one, work.shared, inputs, devices=devices))

    stream(first, second)  # compiles
    program, shared = parallel._program(work.one, first), jax.device_put(work.shared, first)

    def bare() -> None:
        for block in inputs:
            placed = jax.device_put(jax.tree.map(lambda a: a[None], block), first)
            jax.block_until_ready(program(shared, placed))

    def written(folder: Path) -> None:
        """As a job does it: every block computed, fetched, drawn, written and synchronised."""
        plan = Plan(UPath(folder), work.count, job.output.shard, job.output.format)
        for shard, found in _computed(work, job, [plan.shard(0)], devices=[first]):
            plan.write(shard, work.finish(found))

    ratios, cores, work_ratio, extra, host = [], [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        results = stream(first)
        together = jax.tree.map(lambda *parts: np.concatenate(parts), *results)
        plan = Plan(UPath(place) / "host", work.count, job.output.shard, job.output.format)
        written(Path(place))
        for _ in range(REPEATS):
            one, two = spent(lambda: stream(first)), spent(lambda: stream(first, second))
            ratios.append(one[0] / two[0])
            cores.append((two[1] / two[0]) / (one[1] / one[0]))
            work_ratio.append(two[1] / one[1])
            alone, whole = spent(bare), spent(lambda: written(Path(place)))
            extra.append(100 * (whole[1] / alone[1] - 1))
            # What of it is not the program's, by itself: drawing pictures and writing the shard.
            after = spent(lambda: plan.write(plan.shard(0), work.finish(together)))
            host.append(100 * after[0] / alone[0])
            print(ratios[-1], cores[-1], work_ratio[-1], extra[-1], host[-1], flush=True)
    what = f"{MODEL}, {STEPS + 1} evaluations, 2 probes, blocks of {BLOCK}"
    rows = [
        ("throughput, 2 devices / 1", *shown(ratios)),
        ("cores kept busy, 2 devices / 1", *shown(cores)),
        ("processor time, 2 devices / 1", *shown(work_ratio)),
        ("a job's processor time beside the bare program's (%)", *shown(extra)),
        ("pictures and files by the program's time (%)", *shown(host)),
    ]
    report.write("parallel", [what, "median", "quartiles"], rows)


if __name__ == "__main__":
    main()
