"""Is a model wired up right? Checks with a pass or fail, and the likely mistake by name."""

from __future__ import annotations

import jax
from jax import Array

from densityguide.errors import floating, random_key, require
from densityguide.flows import Flow, require_flow
from densityguide.verify.density import encoding, score_of_flow, spread
from densityguide.verify.network import finite, kinks, precision, repeatable
from densityguide.verify.result import Check, Verification
from densityguide.verify.wiring import UNEXPLAINED, gaussian_path, generate, noise_end

__all__ = ["Check", "Verification", "verify"]


def verify(
    flow: Flow,
    key: Array,
    *,
    data: Array | None = None,
    count: int = 64,
    steps: int = 24,
) -> Verification:
    """Check how a model is wired: prior, time, prediction, scale, score, smoothness, dtype.

    The main test: with the right wiring no noise level may be denoised worse than by the best
    isotropic linear denoiser, ``E|eps_hat - eps|^2 / D <= a^2 v / (a^2 v + sigma^2)``. It is made
    on ``data`` (as the model expects it, [n, *shape]) or, without, on the model's own samples.
    If it fails, other wirings are tried, and the one that passes names the mistake.

    Args:
        count: samples per check.
        steps: of each solve.

    Returns:
        A `Verification`; print it.

    Raises:
        ValueError: data of another shape, or integers (apply the model's transform first).
    """
    require_flow(flow, "verify")
    random_key(key, "verify needs a key: pass jax.random.key(...)")
    if data is not None:
        data = floating(data, "data", "apply the model's transform first")
        require(
            data.shape[1:] == flow.shape and data.shape[0] >= 8,
            f"data must be [n >= 8, {', '.join(map(str, flow.shape))}], got {data.shape}",
        )
        data = data[:count]
    keys = jax.random.split(key, 7)
    checks = [finite(flow, keys[0], count), repeatable(flow, keys[0]), precision(flow)]
    if checks[0].passed:
        drawn = generate(flow, keys[1], count, steps)
        if flow.path is not None:
            checks += gaussian_path(flow, keys[2], data, drawn, count, steps)
            checks.append(noise_end(flow, data if data is not None else drawn))
        elif data is not None:
            checks.append(encoding(flow, keys[2], data, steps))
        if data is not None:
            checks.append(spread(data, drawn))
        checks += [score_of_flow(flow, keys[3], steps), kinks(flow, keys[4])]
    return Verification(tuple(_first_causes(checks)))


def _first_causes(checks: list[Check]) -> list[Check]:
    """Drop the advice of checks that a mistake already named explains."""
    failed = {c.name.partition(" (")[0]: c for c in checks if c.passed is False}
    explained: set[str] = set()
    if "denoising" in failed and not failed["denoising"].hint.startswith(UNEXPLAINED):
        explained = {"scale of the data", "score belongs to the flow", "noise end of the range"}
    elif "noise end of the range" in failed:
        explained = {"score of pure noise"}
    return [c._replace(hint="") if c.name in explained else c for c in checks]
