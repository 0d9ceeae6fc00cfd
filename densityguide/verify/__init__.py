"""Is a model wired up right? Checks with a pass or fail, and the likely mistake by name."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import count as whole_number
from densityguide.checks import floating, random_key, require, verb
from densityguide.flow import spaces, units
from densityguide.flow.flow import Flow, require_flow
from densityguide.verify import data as of_data
from densityguide.verify import density, network, wiring
from densityguide.verify.case import Case, usual_count
from densityguide.verify.result import Check, Verification
from densityguide.verify.wirings import label_of

__all__ = ["Check", "Verification", "verify"]

Find = Callable[[Case], Check]
ALONE: tuple[Find, ...] = (network.finite, network.repeatable, network.precision)
ON_A_PATH: tuple[Find, ...] = (
    wiring.denoising,
    network.uses_time,
    wiring.clock,
    wiring.direction,
    wiring.pure_noise,
    wiring.noise_end,
    wiring.centre,
    of_data.spread,
    of_data.order,
    of_data.classes,
    density.tracked,
)
WITHOUT: tuple[Find, ...] = (density.encoding, of_data.spread, density.score_of_flow)


@verb
def verify(
    flow: Flow,
    key: Array,
    *,
    data: Array | None = None,
    labels: ArrayLike | None = None,
    count: int | None = None,
    steps: int = 24,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check how a model is wired: prior, time, prediction, scale, score, smoothness, dtype.

    The main test: with the right wiring no noise level may be denoised worse than by the best
    isotropic linear denoiser, ``E|eps_hat - eps|^2 / D <= a^2 v / (a^2 v + sigma^2)``, but for a
    floor of 1 % of what the network predicts, which small networks leave in nearly pure noise. It
    is made on ``data`` (as the model expects it, [n, *shape]) or, without, on the model's own
    samples. If it fails, other wirings are tried, and the one that passes names the mistake. What
    was left out says why; a property of the network that no wiring mends is a note.

    Args:
        data: at least 8 samples, as `log_density` takes them; the order of their axes, their scale
            and their classes can be judged with them alone.
        labels: the class of each of them, [n] integers, for a flow built with ``classes=``; the
            flow's own class by default.
        count: samples per check; by default 64 up to 256 dimensions and 32 above.
        steps: of each solve.
        progress: called after each check with the number done and the number of all.

    Returns:
        A `Verification`; print it.

    Raises:
        ValueError: data of another shape, not finite, or integers (apply the model's transform
            first); labels of another number, that the network does not know, or without data; a
            count below 8.
    """
    require_flow(flow, "verify")
    spaces.require_none(flow.space, "verify")
    random_key(key, "verify needs a key: pass jax.random.key(...)")
    count = usual_count(flow) if count is None else whole_number(count, 8, "count")
    steps = whole_number(steps, 1, "steps")
    told = None
    if data is not None:
        data = floating(data, "data", "apply the model's transform first")
        require(
            data.shape[1:] == flow.shape and data.shape[0] >= 8,
            f"data must be [n >= 8, {', '.join(map(str, flow.shape))}], got {data.shape}",
        )
        require(bool(jnp.isfinite(data).all()), "data must be finite, some are nan or infinite")
        told = None if labels is None else _labels(flow, data, labels)
        data = units.network(flow.units, data)
        data, told = data[:count], None if told is None else told[:count]
    require(data is not None or labels is None, "labels belong to data: pass data= too")
    flow = flow.replace(standardise=None)  # what is judged is the network
    case = Case(flow, tuple(jax.random.split(key, 5)), data, told, count, steps)
    return Verification(tuple(_first_causes(_checks(case, progress))))


def _labels(flow: Flow, data: Array, labels: ArrayLike) -> Array:
    require(
        label_of(flow) is not None,
        "labels need a flow that knows its classes and is told one of them, see classes=",
    )
    known, found = flow.classes or range(0), np.asarray(labels)
    require(
        found.shape == data.shape[:1] and np.issubdtype(found.dtype, np.integer),
        f"labels must be one whole number for each of the {data.shape[0]} data, got "
        f"{found.dtype} of shape {found.shape}",
    )
    require(
        bool(np.all((found >= known.start) & (found < known.stop))),
        f"labels must be classes from {known.start} to {known.stop - 1}, got {int(found.min())} to "
        f"{int(found.max())}",
    )
    return jnp.asarray(found)


def _checks(case: Case, progress: Callable[[int, int], None] | None) -> list[Check]:
    """Every check in its turn; the first must pass, without numbers there is nothing to judge."""
    rest = ON_A_PATH if case.flow.path is not None else WITHOUT
    plan = (*ALONE, *rest, network.kinks)
    checks: list[Check] = []
    for number, find in enumerate(plan, 1):
        if not (find is not network.finite and checks and checks[0].passed is False):
            checks.append(find(case))
        if progress is not None:
            progress(number, len(plan))
    return checks


def _first_causes(checks: list[Check]) -> list[Check]:
    """Drop the advice of checks that a mistake already named explains."""
    failed = {c.name.partition(" (")[0]: c for c in checks if c.passed is False}
    explained: set[str] = set()
    if "time is used" in failed:
        explained = {c.name for c in checks if c.name != "time is used"}
    elif "denoising" in failed:
        explained = {"score of pure noise", "order of the axes", "direction of time"}
        if not failed["denoising"].hint.startswith(wiring.UNEXPLAINED):
            explained |= {"scale of the data", "noise end of the range", "classes of the data"}
        elif "order of the axes" in failed or "scale of the data" in failed:
            explained = {"score of pure noise", "noise end of the range"}
            explained |= {c.name for c in checks if c.name.startswith("denoising")}
    elif "noise end of the range" in failed:
        explained = {"score of pure noise", "direction of time", "scale of the data"}
    return [c._replace(hint="") if c.name in explained else c for c in checks]
