"""The samplers that are compared, each with one dial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from densityguide.density.trace import Trace
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling
from densityguide.steer.high_density import high_density

__all__ = ["METHODS", "PLAIN", "samplers"]

PLAIN = "plain"
METHODS = {
    "prior": "prior guidance",
    "density": "density guidance",
    "target": "target guidance",
    "high": "high-density sampling",
}


def samplers(steps: int, trace: Trace) -> dict[str, Callable[..., Any]]:
    """By name, ``(flow, latent, key, dial) -> Sample``."""

    def prior(flow: Any, x: Any, key: Any, dial: Any) -> Any:
        return sampling.sample(flow, x * dial, divergence=None, steps=steps)

    def density(flow: Any, x: Any, key: Any, dial: Any) -> Any:
        asked = guidance.quantile(dial)
        return sampling.sample(flow, x, guidance=asked, divergence=None, steps=steps)

    def target(flow: Any, x: Any, key: Any, dial: Any) -> Any:
        asked = guidance.target(dial)
        return sampling.sample(flow, x, guidance=asked, divergence=trace, key=key, steps=steps)

    def high(flow: Any, x: Any, key: Any, dial: Any) -> Any:
        return high_density(flow, x, switch=dial, divergence=None, steps=steps)

    return {PLAIN: prior, "prior": prior, "density": density, "target": target, "high": high}
