"""The samplers that are compared, each with one dial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from densityguide.density.trace import Trace
from densityguide.flow.classifier_free import classifier_free
from densityguide.steer import rules as guidance
from densityguide.steer import sample as sampling
from densityguide.steer.high_density import high_density
from densityguide.steer.land import land

__all__ = ["NAMES", "PLAIN", "samplers"]

PLAIN = "plain"
NAMES = {
    "prior": "prior guidance",
    "density": "density guidance",
    "target": "target guidance",
    "high": "high-density sampling",
    "calibrated": "calibrated guidance",
    "landed": "landed guidance",
    "class": "classifier-free guidance",
}


def samplers(steps: int, trace: Trace) -> dict[str, Callable[..., Any]]:
    """By name, ``(flow, latent, key, dial) -> Sample``; that of "class" takes the label too."""

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

    def calibrated(flow: Any, x: Any, key: Any, dial: Any) -> Any:
        asked = guidance.calibrated(dial)
        return sampling.sample(flow, x, guidance=asked, divergence=None, steps=steps)

    def landed(flow: Any, x: Any, key: Any, dial: Any) -> Any:
        along = guidance.quantile
        return land(flow, x, dial, along=along, divergence=trace, key=key, steps=steps)

    def by_class(flow: Any, x: Any, key: Any, dial: Any, label: Any) -> Any:
        told = classifier_free(flow.given(label), dial, negative=flow.params.condition)
        return sampling.sample(told, x, divergence=None, steps=steps)

    return {
        PLAIN: prior,
        "prior": prior,
        "density": density,
        "target": target,
        "high": high,
        "calibrated": calibrated,
        "landed": landed,
        "class": by_class,
    }
