"""How a network takes its arguments: said by the user, or found out by a trial call."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from densityguide.flow.torch_modules import reason

__all__ = ["Layout", "settle"]


class Layout(NamedTuple):
    """Options of `densityguide.diffusion`; None where they are not said."""

    batched: bool | None
    channels_first: bool | None
    integer_times: bool | None
    learned_variance: bool | None = False


def settle(network: Any, params: Any, shape: tuple[int, ...], known: Layout, guessing: bool) -> Any:
    """The network with every option decided. ``guessing``: by the first layout in which it returns
    the shape of its input, and a warning says which; else what is not said is False.

    Raises:
        ValueError: no layout fits; with the reason of the most usual one.
    """
    if not guessing:
        return dataclasses.replace(network, **{k: bool(v) for k, v in known._asdict().items()})
    x = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    t = jax.ShapeDtypeStruct((), jnp.result_type(float))
    first: Exception | None = None
    for layout in _candidates(known, shape):
        trial = dataclasses.replace(network, **layout._asdict())
        try:
            jax.eval_shape(trial, params, x, t)
        except Exception as error:  # whatever a network raises when it is called wrongly
            first = error if first is None else first
            continue
        unsaid = [k for k, v in known._asdict().items() if v is None]
        if not layout.learned_variance:  # nothing to be told of most networks
            unsaid = [k for k in unsaid if k != "learned_variance"]
        found = [f"{k}={getattr(layout, k)}" for k in unsaid]
        if found:
            warnings.warn(
                f"by a trial call the network takes {', '.join(found)}: pass these to say so "
                "yourself",
                stacklevel=5,
            )
        return trial
    assert first is not None
    raise ValueError(
        f"the module of PyTorch failed on samples of shape {shape} in every layout tried: "
        f"{reason(first)}"
    ) from first


def _candidates(known: Layout, shape: tuple[int, ...]) -> list[Layout]:
    """The most usual one first: a batch of [C, H, W] and times as they are."""
    usual = Layout(True, len(shape) == 3, False, False)
    pairs = [
        (value,) if value is not None else (first, not first)
        for value, first in zip(known, usual, strict=True)
    ]
    batches, channels, times, variances = pairs
    return [
        Layout(batched, first, whole, learned)
        for learned in variances
        for whole in times
        for batched in batches
        for first in channels
        if not first or len(shape) == 3
    ]
