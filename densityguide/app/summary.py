"""What a run found: one record for each request."""

from __future__ import annotations

import math
import platform
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import __version__
from densityguide.app.requests import Settings
from densityguide.app.source import Source
from densityguide.disk import folders as folder
from densityguide.flow.flow import Flow
from densityguide.solve import Status
from densityguide.steer.sample import Sample

__all__ = [
    "Results",
    "beyond",
    "bits",
    "closed_form_error",
    "heading",
    "means",
    "plain",
    "row",
    "statuses",
]


class Results(NamedTuple):
    """What a command found: the report, and the files it wrote."""

    report: dict[str, Any]
    paths: list[Path]


def heading(loaded: Source, settings: Settings | None = None) -> dict[str, Any]:
    """What every report begins with."""
    flow = loaded.flow
    return {
        "program": folder.MARK,
        "version": __version__,
        "model": {
            "name": loaded.name,
            "shape": list(flow.shape),
            "log_snr": [float(end) for end in flow.interval],
            "noise_level": float(flow.noise_level()),
            "levels": loaded.levels or None,
        },
        "environment": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        },
    } | ({} if settings is None else {"settings": settings.record()})


def bits(flow: Flow, nats: Any) -> Any:
    """Bits per dimension of the integer data; nan for data that are not integers."""
    if flow.transform is None:
        return np.full(np.shape(nats), np.nan)
    return flow.transform.bits_per_dim(nats, flow.size)


def means(flow: Flow, log_density: Any, total_error: Any) -> dict[str, Any]:
    """Means over the samples that ended with a finite log p.

    ``standard_error`` is that of the mean over samples, ``std / sqrt(n)``, which is what a figure
    about the model needs; ``measured_within`` the root mean square half-width of the 95 % intervals
    in which the single values are known (probes and solver).
    """
    fine = np.isfinite(log_density)
    count = int(fine.sum())
    values = log_density[fine].astype(np.float64)
    errors = total_error[fine].astype(np.float64)
    mean = float(values.mean()) if count else math.nan
    spread = float(values.std(ddof=1)) if count > 1 else math.nan
    each = flow.size * math.log(2.0) if flow.transform is not None else math.nan
    standard_error = spread / math.sqrt(count) if count > 1 else math.nan
    within = math.sqrt(float((errors**2).mean())) if count else math.nan
    return {
        "samples": len(fine),
        "failed": len(fine) - count,
        "log_density_nats": mean,
        "standard_error_nats": standard_error,
        "measured_within_nats": within,
        "between_samples_nats": spread,
        "bits_per_dim": float(bits(flow, np.asarray(mean))),
        "standard_error_bits_per_dim": standard_error / each,
        "measured_within_bits_per_dim": within / each,
    }


def beyond(settings: Settings, *total_errors: Any) -> dict[str, int]:
    """Of how many samples log p is less certain than ``--tolerance`` asked; nothing without one.
    Those that failed have no error to compare."""
    tolerance = settings.tolerance
    if tolerance is None:
        return {}
    return {"beyond_tolerance": sum(int((np.asarray(e) > tolerance).sum()) for e in total_errors)}


def row(
    flow: Flow, asked: dict[str, float], out: Any, sizes: np.ndarray | None, seconds: float
) -> dict[str, Any]:
    """What was found at one request: `Sample` or `Landing`, which tracks nothing. Evaluations are
    those of the sample that took most: searches differ."""
    fine = np.isfinite(np.asarray(out.log_density))
    some = bool(fine.any())
    tracked = getattr(out, "tracked", None)
    return (
        asked
        | means(flow, out.log_density, out.total_error)
        | {
            "png_bytes": None if sizes is None else _mean(sizes[fine]) if some else math.nan,
            "tracked_nats": math.nan if tracked is None or not some else _mean(tracked[fine]),
            "unmet_nats": _mean(out.unmet[fine]) if some else math.nan,
            "evaluations": int(np.max(out.evaluations)),
            "tangents": int(np.max(out.tangents)),
            "seconds": seconds,
            "status": statuses(out.status),
        }
    )


def _mean(values: Any) -> float:
    return float(np.asarray(values).mean())


def statuses(status: Any) -> dict[str, int]:
    """How many samples carry each status."""
    counts = {str(flag.name): int(((status & int(flag)) != 0).sum()) for flag in Status if flag}
    return {name: count for name, count in counts.items() if count}


def closed_form_error(flow: Flow, out: Sample) -> float:
    """Largest ``|reported - exact|`` log p in nats, for a flow that knows its density."""

    alpha, end = flow.end_scale(), flow.interval[1]
    exact = jax.vmap(lambda x: flow.log_density(alpha * x, end))(jnp.asarray(out.x))
    error = np.abs(np.asarray(out.log_density) - (exact + flow.size * jnp.log(alpha)))
    fine = error[np.isfinite(error)]
    return float(fine.max()) if fine.size else math.nan


def plain(value: Any) -> Any:
    """The record for strict JSON: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
