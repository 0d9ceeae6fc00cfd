"""What a run found: one record per q."""

from __future__ import annotations

import math
import platform
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import __version__, tracking
from densityguide.commands import folder
from densityguide.commands.requests import Settings
from densityguide.commands.source import Source
from densityguide.data.transforms import nats_to_bits_per_dim
from densityguide.flows import Flow
from densityguide.sampling import Sample
from densityguide.solve import Status

__all__ = ["Results", "bits", "closed_form_error", "heading", "means", "plain", "row", "statuses"]


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
            "noise_level": float(tracking.noise_level(flow)),
            "levels": loaded.levels or None,
        },
        "environment": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        },
    } | ({} if settings is None else {"settings": settings.record()})


def bits(flow: Flow, nats: Any) -> Any:
    """Bits per dimension: of the integer data where a transform is declared."""
    if flow.transform is None:
        return nats_to_bits_per_dim(nats, flow.size)
    return flow.transform.bits_per_dim(nats, flow.size)


def means(flow: Flow, log_density: Any, standard_error: Any) -> dict[str, Any]:
    """Means over the samples that ended with a finite log p.

    ``standard_error`` is that of the trace estimate of the mean, not the spread of samples.
    """
    fine = np.isfinite(log_density)
    count = int(fine.sum())
    values = log_density[fine].astype(np.float64)
    errors = standard_error[fine].astype(np.float64)
    mean = float(values.mean()) if count else math.nan
    se = math.sqrt(float((errors**2).sum())) / count if count else math.nan
    return {
        "samples": len(fine),
        "failed": len(fine) - count,
        "log_density_nats": mean,
        "standard_error_nats": se,
        "between_samples_nats": float(values.std(ddof=1)) if count > 1 else math.nan,
        "bits_per_dim": float(bits(flow, np.asarray(mean))),
        "standard_error_bits_per_dim": se / (flow.size * math.log(2.0)),
    }


def row(
    flow: Flow, q: float, out: Sample, sizes: np.ndarray | None, seconds: float
) -> dict[str, Any]:
    """What was found at one q."""
    fine = np.isfinite(np.asarray(out.log_density))
    some = bool(fine.any())
    return (
        {"q": q}
        | means(flow, out.log_density, out.standard_error)
        | {
            "png_bytes": None if sizes is None else float(sizes[fine].mean()) if some else math.nan,
            "unmet_nats": float(out.unmet[fine].mean()) if some else math.nan,
            "evaluations": int(out.evaluations[0]),
            "tangents": int(out.tangents[0]),
            "seconds": seconds,
            "status": statuses(out.status),
        }
    )


def statuses(status: Any) -> dict[str, int]:
    """How many samples carry each status."""
    counts = {str(flag.name): int(((status & int(flag)) != 0).sum()) for flag in Status if flag}
    return {name: count for name, count in counts.items() if count}


def closed_form_error(flow: Flow, out: Sample) -> float:
    """Largest ``|reported - exact|`` log p in nats, for a flow that knows its density."""

    alpha, end = flow.end_scale(), flow.interval[1]
    exact = jax.vmap(lambda x: flow.log_density(alpha * x, end))(jnp.asarray(out.x))
    return float(
        np.nanmax(np.abs(np.asarray(out.log_density) - (exact + flow.size * jnp.log(alpha))))
    )


def plain(value: Any) -> Any:
    """The same record for strict JSON: what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
