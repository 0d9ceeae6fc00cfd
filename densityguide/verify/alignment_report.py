"""Summaries over many samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import random_key, require
from densityguide.flow.flow import Flow, require_flow
from densityguide.steer.alignment import score_alignment

__all__ = ["AlignmentReport", "align_one", "alignment_report", "summarise", "wilson_interval"]


class AlignmentReport(NamedTuple):
    """``fraction`` of latents whose alignment is positive, its 95% interval ``low`` .. ``high``
    (Wilson), and the single ``value`` [n], ``cosine`` [n] and ``status`` [n]."""

    fraction: Array
    low: Array
    high: Array
    value: Array
    cosine: Array
    status: Array


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a binomial rate (Wilson, 1927); inside [0, 1] and not empty
    even for rates of 0 and 1."""
    from scipy.stats import binomtest  # takes a third of a second, and few need it

    found = binomtest(int(successes), int(count)).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def align_one(
    flow: Flow,
    key: Array,
    *,
    direction: Callable[[Array], Array] | Array | None = None,
    **options: Any,
) -> tuple[Array, Array, Array]:
    """``(value, cosine, status)`` of `score_alignment` at one latent of the prior."""
    key_latent, key_trace = jax.random.split(key)
    x = flow.prior.sample(key_latent)
    along = direction(x) if callable(direction) else direction
    out = score_alignment(flow, x, direction=along, **{"key": key_trace, **options})
    return out.value, out.cosine, out.status


def summarise(value: Array, cosine: Array, status: Array) -> AlignmentReport:
    """The report on the alignments [n] of n latents; a failed one has no value, so it does not
    count as aligned."""
    passed = int(jnp.sum(value > 0))
    ends = wilson_interval(passed, len(value))
    dtype = jnp.result_type(float)
    rate, low, high = (jnp.asarray(one, dtype) for one in (passed / len(value), *ends))
    return AlignmentReport(rate, low, high, value, cosine, status)


def alignment_report(
    flow: Flow,
    key: Array,
    *,
    count: int = 256,
    batch: int = 64,
    direction: Callable[[Array], Array] | Array | None = None,
    **options: Any,
) -> AlignmentReport:
    """Score alignment over ``count`` latents of the prior, ``batch`` at a time.

    A positive value says that log p_0 rises along the direction. For the default direction (the
    prior's score) the fraction is the pass rate of score alignment (Karczewski et al., ICML
    2025): where it is 1, shrinking the latent raises log p. Samples that failed count as not
    aligned.

    Args:
        direction: None, an array, or a function of the latent, e.g. ``lambda x: -x``.
        **options: of `score_alignment`.
    """
    require_flow(flow, "alignment_report")
    random_key(key, "alignment_report needs a key: pass jax.random.key(...)")
    require(isinstance(count, int) and count >= 1, f"count must be at least 1, got {count!r}")

    def one(key: Array) -> tuple[Array, Array, Array]:
        return align_one(flow, key, direction=direction, **options)

    keys = jax.random.split(key, count)
    return summarise(*jax.lax.map(one, keys, batch_size=min(batch, count)))
