"""What guidance and noise need of a flow and of a solve, checked before tracing."""

from __future__ import annotations

import warnings

from jax import Array

from densityguide.checks import concrete, present, random_key, require
from densityguide.flow import spaces
from densityguide.flow.flow import Flow
from densityguide.steer.guidance import Guidance, beyond, check
from densityguide.steer.noise import Noise

__all__ = ["calculus_of", "check_guidance", "check_noise", "purpose_of"]


def check_guidance(guidance: Guidance, flow: Flow) -> None:
    """ValueError unless this flow can take this guidance; a warning where it is known to ask for
    more than the flow was seen to follow."""
    check(guidance, flow)
    outside = beyond(guidance, flow)
    if outside is not None and bool(concrete(outside)):
        low, high = present(concrete(present(flow.calibration).dial))
        warnings.warn(
            f"this q is outside {low:.3g} .. {high:.3g}, in which this model's own log p was seen "
            "to rise with q: stay inside, or find the sample of a log p by densityguide.land",
            stacklevel=5,
        )


def check_noise(flow: Flow, noise: Noise, key: Array | None) -> None:
    """ValueError unless this noise can be added to this flow."""
    require(isinstance(noise, Noise), f"noise must be noise.constant or noise.band, got {noise!r}")
    spaces.require_linear(flow.space, "noise needs straight directions to stay in")
    require(flow.has_score, "noise needs a score to stay orthogonal to: pass score= to cnf")
    random_key(key, "noise needs key=: pass jax.random.key(...)")


def calculus_of(noise: Noise | None) -> str | None:
    """The calculus of a solve with this noise; None for an ODE."""
    if noise is None:
        return None
    return "ito" if noise.form.is_ito else "stratonovich"


def purpose_of(guidance: Guidance | None, noise: Noise | None) -> str | None:
    """What needs a trace in order to steer, in words; None if neither guidance nor noise does."""
    if guidance is not None and guidance.needs.trace:
        return f"{guidance.name} guidance"
    if noise is not None and noise.form.needs_trace:
        return f"the {noise.form.name} form of noise"
    return None
