"""Shards as tasks of Ray, on however many machines its cluster has; the only door to ray."""

from __future__ import annotations

import os
import signal
import socket
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

from upath import UPath

from densityguide.app.jobs.engines import Done, Engine
from densityguide.app.jobs.worker import compute
from densityguide.checks import require
from densityguide.disk import storage
from densityguide.disk.interrupts import Preempted, Stop

__all__ = ["installed", "on_ray"]

AT_ONCE = 1000  # tasks that Ray knows of
PATIENCE = 10.0  # seconds to wait for a cluster's answer
RETRIES = 20  # of a shard whose worker or machine was lost
COPIES, SLOW, LEAST = 3, 3.0, 10.0  # of a straggler; times the median; seconds
PASSED_ON = ("XLA_", "JAX_", "XDG_CACHE_HOME")  # environment variables, by their beginning


def on_ray(address: str | None = None, *, cpus: float = 1.0, gpus: float | None = None) -> Engine:
    """An engine for `run` that makes every shard a task of Ray::

        jobs.run(job, "gs://bucket/job", engine=jobs.on_ray("auto"))

    Machines may come and go: Ray gives a shard whose worker is lost to another, up to 20 times, and
    work to machines that join. Once every shard that is left has a worker, one that takes more than
    three times the median is also given to a second; whichever ends first counts, and both write
    the same bytes. All machines need the same folder, model and data, and densityguide.

    Args:
        address: of a cluster, such as ``auto`` or ``ray://host:10001``; a new one on this machine
            by default. A session of Ray that is open already is used as it is.
        cpus: what a worker takes.
        gpus: the same; by default 1 where the cluster has any, else 0.

    Raises:
        ValueError: ray is not installed, the cluster is not found, it has no room for a worker, or
            a worker cannot do the job. From `run`, not from here.
    """

    def engine(path: UPath, numbers: Sequence[int]) -> Iterator[Done]:
        if not numbers:
            return
        ray = installed()
        place = str(storage.absolute(path))
        # Ray sets a handler of its own for SIGTERM, hence ours anew. An exception that a handler
        # raises inside Ray's compiled code comes out as another, hence one that only notes.
        with _connected(ray, address), Stop() as stop:
            share = _share(ray, cpus, gpus)
            task = ray.remote(compute).options(**share, **_options())
            begin = partial(task.remote, place, os.getcwd())
            yield from _each(ray, begin, numbers, partial(_slots, ray, share), stop)

    return engine


def installed() -> Any:
    """The package; ValueError, with what to do, where there is none."""
    try:
        import ray
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise ValueError(
            "the engine ray needs the package ray, which is not installed: run "
            'pip install "densityguide[ray]"'
        ) from None
    return ray


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"} if not address else {}
    try:
        _reach(address or "")
        with warnings.catch_warnings():
            # Ray forks to start its own programs at once, which touch nothing of JAX.
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(address or "local", log_to_driver=False, logging_level="error", **own)
    except (RuntimeError, ValueError, OverflowError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"no Ray cluster at {address or 'this machine'} ({reason:.200}): start one by ray "
            "start --head, or correct --address"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """OSError where nothing listens at ``HOST:PORT``: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def _share(ray: Any, cpus: float, gpus: float | None) -> dict[str, float]:
    """What one worker takes of a machine; ValueError if no machine has as much."""
    if gpus is None:
        gpus = 1.0 if ray.cluster_resources().get("GPU", 0.0) else 0.0
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    require(
        cpus >= 0.0 and gpus >= 0.0 and cpus + gpus > 0.0,
        f"a worker takes cpus and gpus of at least 0, not both 0, got {cpus:g} and {gpus:g}",
    )
    require(
        any(one.get("CPU", 0) >= cpus and one.get("GPU", 0) >= gpus for one in machines),
        f"no machine of the cluster has the {cpus:g} CPUs and {gpus:g} GPUs of a worker: pass less "
        "by --cpus and --gpus",
    )
    return {"num_cpus": cpus, "num_gpus": gpus}


def _options() -> dict[str, Any]:
    told = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    return {
        "max_retries": RETRIES,
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": told},
    }


def _slots(ray: Any, share: dict[str, float]) -> float:
    """How many workers the cluster has room for now."""
    has = ray.cluster_resources()
    kinds = {"CPU": share["num_cpus"], "GPU": share["num_gpus"]}
    return min(has.get(kind, 0.0) / each for kind, each in kinds.items() if each)


def _each(
    ray: Any,
    begin: Callable[[int], Any],
    numbers: Sequence[int],
    slots: Callable[[], float],
    stop: Stop,
) -> Iterator[Done]:
    """``begin(number)`` of all numbers, each result once, in the order in which they come."""
    waiting, left = deque(numbers), set(numbers)
    running: dict[Any, int] = {}
    copies: dict[int, int] = {}
    seconds: list[float] = []
    since: dict[int, float] = {}  # of those left once every one has a worker
    while left:
        while waiting and len(running) < AT_ONCE:
            number = waiting.popleft()
            running[begin(number)] = number
        ready, _ = ray.wait([*running], num_returns=1, timeout=1.0)
        if stop.signal is not None:
            raise KeyboardInterrupt if stop.signal == signal.SIGINT else Preempted
        for reference in ready:
            number = running.pop(reference)
            if number in left:
                done = _result(ray, reference, number)
                left.remove(number)
                seconds.append(done.seconds)
                yield done
        if seconds and not waiting and len(left) <= slots():
            now, slow = time.monotonic(), max(SLOW * median(seconds), LEAST)
            for number in left:
                if now - since.setdefault(number, now) > slow and copies.get(number, 1) < COPIES:
                    copies[number] = copies.get(number, 1) + 1
                    since[number] = now
                    running[begin(number)] = number


def _result(ray: Any, reference: Any, number: int) -> Done:
    """What the task found; its refusals as they would be here."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, storage.StorageError):
            raise storage.StorageError(str(cause)) from None
        if isinstance(cause, (ValueError, FileNotFoundError)):
            raise ValueError(str(cause)) from None
        raise
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the workers of shard {number} ended {RETRIES + 1} times ({reason:.200}): give them "
            "more memory by --cpus, or make shards smaller"
        ) from None
