"""Data, samples and score: do they belong to one density?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide import priors
from densityguide.alignment import score_alignment
from densityguide.divergence import exact, orthogonal
from densityguide.flows import Flow
from densityguide.sampling import sample
from densityguide.verify.result import Check

__all__ = ["encoding", "score_of_flow", "spread"]


def spread(data: Array, drawn: Array) -> Check:
    ratio = float(jnp.std(drawn) / jnp.std(data))
    shift = float(abs(jnp.mean(drawn) - jnp.mean(data)) / jnp.std(data))
    fine = 0.7 < ratio < 1.4 and shift < 0.5
    hint = ""
    if not fine:
        hint = (
            f"data and samples differ in scale (std {float(jnp.std(data)):.3g} against "
            f"{float(jnp.std(drawn)):.3g}) or offset: "
            "apply the transform the model was trained with"
        )
    return Check("scale of the data", fine, f"samples / data {ratio:.2f}", "0.7 .. 1.4", hint)


def encoding(flow: Flow, key: Array, data: Array, steps: int) -> Check:
    """A CNF must carry data to typical points of its prior."""
    back = flow.replace(interval=flow.interval[::-1], path=None)

    def encode(x: Array) -> Array:
        return flow.prior.log_prob(sample(back, x, divergence=None, steps=steps).x)

    seen = jax.vmap(encode)(data)
    typical = jax.vmap(lambda k: flow.prior.log_prob(flow.prior.sample(k)))(
        jax.random.split(key, 256)
    )
    off = float((jnp.mean(seen) - jnp.mean(typical)) / (jnp.std(typical) + 1e-12))
    fine = bool(np.isfinite(off)) and abs(off) < 1.0
    hint = ""
    if not fine:
        hint = "data do not land on the prior: interval= must be (prior end, data end); swap it?"
    return Check("data reach the prior", fine, f"{off:+.2f} std of log p", "|.| < 1", hint)


def score_of_flow(flow: Flow, key: Array, steps: int) -> Check:
    """Both forms of score alignment must agree if the score is the gradient of log p.

    On a Gaussian path the score is tied to the velocity, and the denoising check judges both: what
    is left is how far the network is from the gradient of a density, which no wiring can mend. It
    is shown, not judged.
    """
    name, expected = "score belongs to the flow", "ratio 1 +- 0.15"
    tied = flow.path is not None
    if tied:
        expected = "1 for an exact model"
    if not flow.has_score:
        return Check(name, None, "no score", expected, "")
    trace = exact() if flow.is_small else orthogonal(4)

    @jax.jit
    def both(flow: Flow, keys: Array) -> tuple[Array, Array]:
        def one(key: Array) -> tuple[Array, Array]:
            x = flow.prior.sample(key)
            direction = priors.score(flow.prior, x)
            with_score = score_alignment(flow, x, direction=direction, steps=steps)
            without = score_alignment(
                flow,
                x,
                direction=direction,
                use_score=False,
                divergence=trace,
                key=key,
                steps=steps,
            )
            return with_score.value, without.value

        return jax.vmap(one)(keys)

    first, second = both(flow, jax.random.split(key, 8))
    ratio = float(jnp.sum(first * second) / jnp.sum(second**2))
    if tied:
        return Check(name, None, f"ratio {ratio:.3f}", expected, "")
    fine = bool(np.isfinite(ratio)) and abs(ratio - 1.0) < 0.15
    hint = ""
    if not fine:
        what = "the wrong sign" if ratio < -0.5 else "another scale or belongs to another density"
        hint = f"the score has {what}: it must be grad log p_t of the flow's own density"
    return Check(name, fine, f"ratio {ratio:.3f}", expected, hint)
