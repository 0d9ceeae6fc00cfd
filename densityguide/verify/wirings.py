"""How a network is connected to its flow, and the network on many states at once.

A mistake in the wiring changes what is made of the network's outputs, not the network. So the
network is compiled once, for batches of one size, and every way of wiring it is tried on that one
program.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from densityguide.checks import present
from densityguide.flow import clocks, conditions, predictions
from densityguide.flow.build import GaussianField
from densityguide.flow.flow import Flow
from densityguide.flow.paths import Path

__all__ = ["Wiring", "decoded", "label_of", "outputs", "score", "wiring_of"]

BATCH = 16


class Wiring(NamedTuple):
    """What turns a network into a score: the path, what it predicts, its clock, and what is done to
    its input and output. ``advice`` is the sentence that names the mistake it would mend."""

    path: Path
    kind: predictions.Kind
    clock: Callable[[Array], Array]
    before: Callable[[Array, Array], Array] | None = None  # (states, log-SNR)
    after: Callable[[Array], Array] | None = None
    advice: str = ""


def wiring_of(flow: Flow) -> Wiring:
    """As the flow has it; a world or a mixed flow counts as a network that predicts the score."""
    field = flow.field
    if isinstance(field, GaussianField):
        return Wiring(field.path, field.kind, field.clock)
    return Wiring(present(flow.path), predictions.SCORE, clocks.log_snr)


def label_of(flow: Flow) -> Array | None:
    """The class that the flow's network is told, where its classes are known."""
    return None if flow.classes is None else conditions.label_of(flow.params)


@jax.jit
def _outputs(flow: Flow, x: Array, t: Array, labels: Array | None) -> Array:
    def one(x: Array, t: Array, label: Array | None) -> Array:
        params: Any = flow.params if label is None else conditions.labelled(flow.params, label)
        if isinstance(flow.field, GaussianField):
            return flow.field.apply(params, x, t).astype(x.dtype)
        velocity, score = flow.field(params, x, t)
        return velocity if flow.path is None else present(score)

    return jax.vmap(one, in_axes=(0, 0, None if labels is None else 0))(x, t, labels)


def outputs(flow: Flow, x: Array, t: ArrayLike, labels: Array | None = None) -> Array:
    """What the network returns, [n, *shape], at states x [n, *shape] and its own times t, one or
    [n]; the velocity of a flow without a path. ``labels`` [n] stand for the flow's class."""
    n, label = x.shape[0], label_of(flow)
    t = jnp.broadcast_to(jnp.asarray(t, x.dtype), (n,))
    if labels is None and label is not None:
        labels = jnp.broadcast_to(label, (n,))
    parts = []
    for start in range(0, n, BATCH):
        # The last batch is filled up, so that one program does for all.
        rows = jnp.minimum(jnp.arange(start, start + BATCH), n - 1)
        told = None if labels is None else labels[rows]
        parts.append(_outputs(flow, x[rows], t[rows], told))
    return jnp.concatenate(parts)[:n]


def score(
    flow: Flow,
    wiring: Wiring,
    x: Array,
    log_snr: Array,
    told: Array | None = None,
    labels: Array | None = None,
) -> Array:
    """The score at states [n, *shape] of one log-SNR; the network may be told another."""
    given = x if wiring.before is None else wiring.before(x, log_snr)
    out = outputs(flow, given, wiring.clock(log_snr if told is None else told), labels)
    out = out if wiring.after is None else wiring.after(out)
    at = predictions.Place(x, log_snr, wiring.path, wiring.clock)
    return wiring.kind.to_score(out, at).astype(x.dtype)


def decoded(flow: Flow, wiring: Wiring, unit: Array, steps: int) -> Array:
    """Samples x / alpha, [n, *shape], from latents over their scale: steps of DDIM (Song et al.,
    ICLR 2021), ``x -> alpha' x0_hat + sigma' eps_hat``, evenly spaced in log-SNR."""
    path, levels = wiring.path, jnp.linspace(*flow.interval, steps + 1).astype(unit.dtype)
    x = path.sigma(levels[0]) * unit
    for here, there in pairwise(levels):
        alpha, sigma = path.alpha(here), path.sigma(here)
        noise = -sigma * score(flow, wiring, x, here)
        clean = (x - sigma * noise) / alpha
        x = path.alpha(there) * clean + path.sigma(there) * noise
    return x / path.alpha(levels[-1])
