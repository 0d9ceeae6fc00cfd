"""Several processes, on one or many hosts: who they are. They meet through JAX's own runtime
(``jax.distributed``) and part again at once.

That runtime ends every process when one dies, and lets none end before all do. Shards need neither:
from here on the processes know of each other by `peers` alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from densityguide.disk.interrupts import Preempted, fatal

__all__ = ["PATIENCE", "Hosts", "join", "say"]

PATIENCE = 60.0  # seconds
MEETING = 300  # seconds


class Hosts(NamedTuple):
    """This process among all. One that gave no sign of life for ``patience`` seconds is gone.
    ``meeting`` is a name for this start of all of them together; "" where they did not meet."""

    process: int = 0
    processes: int = 1
    patience: float = PATIENCE
    meeting: str = ""

    @property
    def leads(self) -> bool:
        """Whether this process writes the files that exist once, as long as it lives."""
        return self.process == 0


def join(
    *,
    automatic: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    patience: float | None = None,
) -> Hosts:
    """Meet the other processes, before any device is touched.

    ``automatic`` asks SLURM, Kubernetes, Open MPI or the TPU runtime who they are; by hand, say the
    coordinator's ``host:port``, how many processes there are and which this one is. Without a
    coordinator they do not meet, and may start at any time, as those of a job array do. With none
    of these the process is alone.

    ValueError, one line, where some are missing; Preempted where the others do not come.
    """
    patience = PATIENCE if patience is None else patience
    if not 0 < patience < float("inf"):
        raise ValueError(f"expected --patience above 0 seconds, got {patience}")
    if coordinator is None and processes is None and process is None:
        if not automatic:
            return Hosts(patience=patience)
    elif processes is None or process is None or automatic:
        raise ValueError(
            "expected --processes with --process (and --coordinator if they are to meet), or "
            "--distributed alone"
        )
    elif not 0 <= process < processes:
        raise ValueError(f"expected --process in 0 .. {processes - 1}, got {process}")
    elif coordinator is None:
        return Hosts(process, processes, patience)
    elif not (coordinator.rpartition(":")[0] and coordinator.rpartition(":")[2].isdecimal()):
        raise ValueError(f"expected --coordinator HOST:PORT, got {coordinator!r:.100}")
    return Hosts(*_met(coordinator, processes, process), patience, _meeting())


def _met(coordinator: str | None, processes: int | None, process: int | None) -> tuple[int, int]:
    try:
        with fatal():
            jax.distributed.initialize(
                coordinator,
                processes,
                process,
                initialization_timeout=MEETING,
                heartbeat_timeout_seconds=int(PATIENCE),
            )
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if "DEADLINE_EXCEEDED" in reason:
            raise Preempted(f"the other processes did not come within {MEETING} s") from None
        raise ValueError(f"cannot meet the other processes: {reason}") from None
    if has_host_alone(os.environ):
        # JAX takes one device a process wherever SLURM or Open MPI started it.
        jax.config.update("jax_cuda_visible_devices", "all")
        jax.config.update("jax_rocm_visible_devices", "all")
    return jax.process_index(), jax.process_count()


def has_host_alone(environ: Mapping[str, str]) -> bool:
    """Whether SLURM or Open MPI started one process a host, to which all its devices belong."""
    tasks = environ.get("SLURM_STEP_TASKS_PER_NODE", "").partition("(")[0]
    return "1" in (tasks, environ.get("OMPI_COMM_WORLD_LOCAL_SIZE"))


def _meeting() -> str:
    """A name that all agree on; then the processes part."""
    own = np.frombuffer(os.urandom(4), np.uint32)
    try:
        name = f"{int(multihost_utils.process_allgather(own).ravel()[0]):08x}"
        jax.distributed.shutdown()
    except RuntimeError:
        raise Preempted("another process was lost while they met") from None
    return name


def say(line: str) -> None:
    """A line about other processes, on standard error."""
    print(line, file=sys.stderr, flush=True)
