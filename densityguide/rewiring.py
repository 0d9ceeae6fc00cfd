"""Other ways a network could have been meant: the candidates `verify` compares.

Each candidate changes one thing about how the network is connected, and carries the sentence
that names the mistake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import jax.numpy as jnp
from jax import Array

from densityguide import clocks, paths, priors
from densityguide.flows import Flow, _Diffusion

__all__ = ["Candidate", "candidates"]


@dataclass(frozen=True)
class Candidate:
    """A rewired flow and the advice it stands for."""

    advice: str
    flow: Flow


@dataclass(frozen=True)
class _Then:
    """One function after another, compared by value."""

    clock: Callable[[Array], Array]
    factor: float = 1.0
    flip: bool = False

    def __call__(self, log_snr: Array) -> Array:
        return self.factor * self.clock(-log_snr if self.flip else log_snr)


def _rewire(flow: Flow, **changes: Any) -> Flow:
    field = dataclasses.replace(cast(_Diffusion, flow.field), **changes)
    prior = priors.normal(flow.shape, field.path.sigma(flow.interval[0]))
    return flow.replace(field=field, path=field.path, prior=prior)


def candidates(flow: Flow) -> Iterator[Candidate]:
    """Single changes to a flow built by `diffusion`; nothing for other flows."""
    field = flow.field
    if not isinstance(field, _Diffusion):
        return
    name = field.prediction
    for other in ("noise", "data", "v", "score", "velocity"):
        if other != name and (other != "v" or field.path.preserves_variance):
            yield Candidate(
                f"the network seems to predict {other}, not {name}: set prediction={other!r}",
                _rewire(flow, prediction=other),
            )
    yield Candidate(
        "the output seems to have the wrong sign: negate what the network returns",
        _rewire(flow, apply=_Negated(field.apply)),
    )
    for clock, advice in _clocks(field.clock):
        yield Candidate(advice, _rewire(flow, clock=clock))
    if field.path == paths.variance_exploding():
        # Before the paths: for some predictions it is the variance-preserving one by another name.
        scaled = _ScaledInput(field.apply, field.clock)
        yield Candidate(
            "the network seems to expect a scaled input (c_in of EDM): pass it "
            "x / sqrt(1 + sigma^2), or see path=",
            _rewire(flow, apply=scaled, clock=clocks.log_snr),
        )
    for path in (paths.variance_preserving(), paths.variance_exploding(), paths.linear()):
        if path != field.path and (name != "v" or path.preserves_variance):
            yield Candidate(
                f"the network seems to be trained on another path: set path=paths.{path.name}()",
                _rewire(flow, path=path),
            )


def _clocks(clock: Callable[[Array], Array]) -> Iterator[tuple[Callable[[Array], Array], str]]:
    known: dict[str, Callable[[Array], Array]] = {
        "clocks.log_snr": clocks.log_snr,
        "clocks.flow_time": clocks.flow_time,
        "clocks.reversed_flow_time": clocks.reversed_flow_time,
        "clocks.cosine_time": clocks.cosine_time,
        "clocks.edm_noise": clocks.edm_noise,
        "clocks.ddpm()": clocks.ddpm(),
    }
    for label, other in known.items():
        if other != clock:
            yield other, f"the network seems to be trained with another time: set clock={label}"
    yield (
        _Then(clock, flip=True),
        "the network's time seems to run the other way: reverse clock= (t for 1 - t, or -log_snr)",
    )
    for factor in (1000.0, 1e-3):
        yield _Then(clock, factor), f"the network's time seems to be {factor:g} times clock="


@dataclass(frozen=True)
class _Negated:
    apply: Callable[..., Array]

    def __call__(self, *args: Any) -> Array:
        return -self.apply(*args)


@dataclass(frozen=True)
class _ScaledInput:
    """EDM's c_in in front of the user's network; called with the log-SNR as its time."""

    apply: Callable[..., Array]
    clock: Callable[[Array], Array]

    def __call__(self, *args: Any) -> Array:
        *params, x, log_snr = args
        scaled = x / jnp.sqrt(1.0 + jnp.exp(-log_snr))
        return self.apply(*params, scaled, self.clock(log_snr))
