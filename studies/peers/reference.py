"""What log p is: a converged solve by Dormand and Prince's method of order 8, written out here.

In the plane in float64; networks compute in float32, whose rounding (about 1e-6 bits/dim) is far
below the errors that the race asks for.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from studies.peers.by_diffrax import log_density, steps_of
from studies.peers.entrant import Entrant
from studies.peers.subjects import Subject

__all__ = ["truth"]

STEPS = {"moons": "dopri8 steps=60", "digits8": "tsit5 steps=40", "emoji32": "tsit5 steps=40"}


def truth(subject: Subject, entrant: Entrant, small: bool = False) -> np.ndarray:
    """Log p [n] in nats by the entrant's own trace and prior."""
    probe = entrant.probe(subject) if entrant.probe is not None else None
    if probe is None and not subject.exact:
        probe = subject.probe
    setting = "tsit5 steps=16" if small else STEPS[subject.name]
    double = subject.flow.path is None
    with jax.enable_x64(double):
        found = _solved(subject, probe, entrant.prior_variance(subject), setting, double)
    return found


def _solved(
    subject: Subject, probe: np.ndarray | None, variance: float, setting: str, double: bool
) -> np.ndarray:
    kind = np.float64 if double else np.float32
    params = jax.tree.map(lambda a: np.asarray(a, kind), subject.params) if double else None
    x = jnp.asarray(subject.states, kind)
    rows = None if probe is None else jnp.asarray(probe, kind)
    solving = steps_of(setting)

    def one(params: Any, x: Any, probe: Any) -> Any:
        return log_density(subject.jax_field, params, x, probe, solving)

    own = None if probe is None else 0
    params = subject.params if params is None else params
    value, latent = jax.jit(jax.vmap(one, (None, 0, own)))(params, x, rows)
    squares = np.sum(np.square(np.asarray(latent).reshape(len(x), -1)), axis=1)
    # The prior's variance: N(0, v) instead of N(0, 1).
    change = -0.5 * (squares * (1.0 / variance - 1.0) + subject.size * np.log(variance))
    return np.asarray(value) + change
