"""One line that says what a flow is."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from densityguide.checks import concrete
from densityguide.flow.conditions import Bound, Conditioned, Mixed

__all__ = ["describe"]


def describe(flow: Any) -> str:
    """``Flow((32, 32, 3), variance_preserving path, log-SNR -10 to 10, predicts noise, 1.2 M
    parameters)``: whatever is known of it, and no weights."""
    on_path = flow.path is not None
    parts = [f"{flow.shape}"]
    parts += [f"{flow.path.name} path"] if on_path else []
    parts += [f"{'log-SNR' if on_path else 't'} {_range(flow.interval)}"]
    kind = getattr(flow.field, "kind", None)
    parts += [] if kind is None else [f"predicts {kind.name}"]
    parts += [_size(flow.params)]
    parts += [] if flow.has_score else ["no score"]
    parts += ["derived score"] if isinstance(flow.params, Bound) else []
    parts += ["closed form"] if flow.density is not None else []
    guided = isinstance(flow.params, Mixed)
    parts += ["classifier-free guidance"] if guided else []
    parts += ["conditional"] if isinstance(flow.params, Conditioned) else []
    parts += [] if flow.calibration is None else ["calibrated"]
    parts += [] if flow.space is None else [f"{type(flow.space).__name__.lower()} space"]
    parts += [] if flow.units is None else ["standardised"]
    parts += [] if flow.transform is None else [f"transform {type(flow.transform).__name__}"]
    return f"Flow({', '.join(parts)})"


def _range(ends: Any) -> str:
    try:
        start, stop = (concrete(end) for end in ends)
        return f"{_number(start)} to {_number(stop)}"
    except (TypeError, ValueError):  # whatever a transformation puts into a pytree
        return "unknown"


def _number(value: np.ndarray | None) -> str:
    if value is None:
        return "traced"
    return f"{value:.4g}" if value.ndim == 0 else f"shape {value.shape}"


def _size(params: Any) -> str:
    count = sum(int(np.prod(getattr(leaf, "shape", ()))) for leaf in jax.tree.leaves(params))
    for unit, word in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{word} parameters"
    return f"{count} parameters"
