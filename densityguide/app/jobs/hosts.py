"""Several processes, on one or many hosts, on JAX's own runtime (``jax.distributed``)."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = ["Hosts", "agree", "join", "wait"]


class Hosts(NamedTuple):
    """This process among all."""

    process: int = 0
    processes: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files that exist once."""
        return self.process == 0


def join(
    *,
    automatic: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> Hosts:
    """Meet the other processes, before any device is touched.

    ``automatic`` asks SLURM, Kubernetes, Open MPI or the TPU runtime who they are; by hand, say the
    coordinator's ``host:port``, how many processes there are and which this one is. With none of
    these the process is alone.

    ValueError, one line, where some of the three are missing, or if the others are not found.
    """
    if coordinator is None and processes is None and process is None:
        if not automatic:
            return Hosts()
    elif coordinator is None or processes is None or process is None or automatic:
        raise ValueError(
            "expected --coordinator, --processes and --process together, or --distributed alone"
        )
    elif not 0 <= process < processes:
        raise ValueError(f"expected --process in 0 .. {processes - 1}, got {process}")
    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot meet the other processes: {reason}") from None
    return Hosts(jax.process_index(), jax.process_count())


def agree(hosts: Hosts, problem: str | None, plan: Any = None) -> None:
    """Go on together or not at all: ValueError on every process if any has a problem, or if their
    ``plan``, any JSON value, is not the same."""
    if hosts.processes > 1:
        text = json.dumps(plan, sort_keys=True).encode()
        own = np.asarray([problem is not None, zlib.crc32(text)], np.uint32)
        problems, plans = multihost_utils.process_allgather(own).T
        if problem is None and problems.any():
            which = ", ".join(str(index) for index in np.flatnonzero(problems))
            problem = f"process {which} cannot start; its own message says why"
        elif problem is None and len(set(plans.tolist())) > 1:
            problem = "the processes were started with different jobs: give all the same settings"
    if problem is not None:
        raise ValueError(problem)


def wait(done: Callable[[], Any], seconds: float = 1.0) -> None:
    """Wait until ``done()``. If a process dies, the runtime notices and ends this one."""
    while not done():
        time.sleep(seconds)
