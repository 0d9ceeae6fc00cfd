"""Other ways a network could have been meant: the wirings and the data that `verify` compares.

Each changes one thing, and carries the sentence that names the mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.flow import clocks, paths, predictions
from densityguide.verify.wirings import Wiring

__all__ = ["Reordered", "candidates", "reordered", "rescaled", "turned"]


@dataclass(frozen=True)
class _Then:
    """One function after another, compared by value."""

    clock: Callable[[Array], Array]
    factor: float = 1.0
    flip: bool = False

    def __call__(self, log_snr: Array) -> Array:
        return self.factor * self.clock(-log_snr if self.flip else log_snr)


def candidates(wiring: Wiring, shape: tuple[int, ...]) -> Iterator[Wiring]:
    """Single changes to the wiring of a network for samples of this shape."""
    for kind in predictions.KINDS:
        if kind != wiring.kind and kind.fits(wiring.path):
            yield wiring._replace(
                kind=kind,
                advice=f"the network seems to predict {kind.name}, not {wiring.kind.name}: "
                f"set prediction={kind.name!r}",
            )
    yield wiring._replace(
        after=jnp.negative,
        advice="the output seems to have the wrong sign: negate what the network returns",
    )
    # Before the other clocks, some of which are the same by another name.
    yield turned(wiring)
    for clock, advice in _clocks(wiring.clock):
        yield wiring._replace(clock=clock, advice=advice)
    if wiring.path == paths.variance_exploding():
        # Before the paths: for some predictions it is the variance-preserving one by another name.
        yield wiring._replace(
            before=_scaled,
            advice="the network seems to expect a scaled input (c_in of EDM): pass it "
            "x / sqrt(1 + sigma^2), or see path=",
        )
    for path in (paths.variance_preserving(), paths.variance_exploding(), paths.linear()):
        if path != wiring.path and wiring.kind.fits(path):
            yield wiring._replace(
                path=path,
                advice="the network seems to be trained on another path: "
                f"set path=paths.{path.name}()",
            )
    for order in reordered(shape):
        yield wiring._replace(
            after=order.change,
            advice=f"what the network returns seems to have its {order.name} in another order "
            f"than its input: {order.remedy} in both, or in neither",
        )


def turned(wiring: Wiring) -> Wiring:
    """The same with the network's time running the other way."""
    remedy = "reverse clock= (t for 1 - t, or -log_snr)"
    if wiring.clock == clocks.flow_time:
        remedy = "set clock=clocks.reversed_flow_time"
    elif wiring.clock == clocks.reversed_flow_time:
        remedy = "set clock=clocks.flow_time"
    return wiring._replace(
        clock=_Then(wiring.clock, flip=True),
        advice=f"the network's time seems to run the other way: {remedy}",
    )


def _scaled(x: Array, log_snr: Array) -> Array:
    return x / jnp.sqrt(1.0 + jnp.exp(-log_snr))


def _clocks(clock: Callable[[Array], Array]) -> Iterator[tuple[Callable[[Array], Array], str]]:
    known: dict[str, Callable[[Array], Array]] = {
        "clocks.log_snr": clocks.log_snr,
        "clocks.flow_time": clocks.flow_time,
        "clocks.reversed_flow_time": clocks.reversed_flow_time,
        "clocks.cosine_time": clocks.cosine_time,
        "clocks.edm_noise": clocks.edm_noise,
    }
    for label, other in known.items():
        if other != clock:
            yield other, f"the network seems to be trained with another time: set clock={label}"
    for label, betas in _betas().items():
        for factor in (1.0, 1e-3):
            index = clocks.ddpm(betas)
            other = index if factor == 1.0 else _Then(index, factor)
            if other != clock:
                yield other, _other_betas(label, factor)
    for factor in (1000.0, 1e-3):
        yield _Then(clock, factor), f"the network's time seems to be {factor:g} times clock="


def _other_betas(label: str, factor: float) -> str:
    by = "" if factor == 1.0 else f", times {factor:g}"
    return (
        f"the network seems to be trained with other betas or another time: {label}{by} fit; pass "
        "the scheduler's own to clocks.ddpm(betas)"
    )


def _betas() -> dict[str, np.ndarray]:
    """Tables in wide use: Ho et al. 2020, Rombach et al. 2022, Nichol and Dhariwal 2021."""
    t = np.linspace(0.0, 1.0, 1001)
    kept = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    return {
        "linear betas, 1e-4 to 0.02": np.linspace(1e-4, 0.02, 1000),
        "betas linear in their roots, 0.00085 to 0.012": np.linspace(0.00085**0.5, 0.012**0.5, 1000)
        ** 2,
        "cosine betas": np.minimum(1.0 - kept[1:] / kept[:-1], 0.999),
    }


class Reordered(NamedTuple):
    """Another order of a sample's axes or channels, which keeps every distance."""

    name: str
    change: Callable[[Array], Array]  # of [n, *shape]
    remedy: str


def reordered(shape: tuple[int, ...]) -> list[Reordered]:
    """The orders that pictures of this shape are often given in by mistake."""
    found = []
    if len(shape) == 3 and shape[-1] == 3:
        found.append(
            Reordered(
                "channels", lambda x: x[..., ::-1], "reverse them (BGR for RGB), x[..., ::-1]"
            )
        )
    if len(shape) == 3 and shape[0] == shape[1]:
        found.append(
            Reordered("rows and columns", lambda x: jnp.swapaxes(x, 1, 2), "swap them (H for W)")
        )
    return found


def rescaled(data: Array, drawn: Array) -> tuple[Array, str] | None:
    """The data on the scale that fits the model's own samples, and how they got there; None where
    no usual change of scale brings them nearer."""
    centre, spread = float(jnp.mean(drawn)), float(jnp.std(drawn)) + 1e-12

    def off(x: Array) -> float:
        mean, std = float(jnp.mean(x)), float(jnp.std(x)) + 1e-12
        return abs(mean - centre) / spread + abs(float(np.log(std / spread)))

    best, least = None, min(0.5, off(data) - 0.1)
    for words, a, b in SCALES:
        changed = a * data + b
        if off(changed) < least:
            best, least = (changed, words), off(changed)
    return best


SCALES = (
    ("2 x - 1 (data in [0, 1], a network for [-1, 1])", 2.0, -1.0),
    ("(x + 1) / 2 (data in [-1, 1], a network for [0, 1])", 0.5, 0.5),
    ("x / 127.5 - 1 (data in 0 .. 255)", 1 / 127.5, -1.0),
    ("x / 255 (data in 0 .. 255)", 1 / 255.0, 0.0),
    ("x / 255 - 0.5 (data in 0 .. 255)", 1 / 255.0, -0.5),
    ("x - 0.5 (data in [0, 1], a network for [-0.5, 0.5])", 1.0, -0.5),
    ("x + 0.5 (data in [-0.5, 0.5], a network for [0, 1])", 1.0, 0.5),
    ("x / 2 (data in [-1, 1], a network for [-0.5, 0.5])", 0.5, 0.0),
    ("2 x (data in [-0.5, 0.5], a network for [-1, 1])", 2.0, 0.0),
    ("-x (light and dark exchanged)", -1.0, 0.0),
    ("1 - x (light and dark exchanged)", -1.0, 1.0),
)
