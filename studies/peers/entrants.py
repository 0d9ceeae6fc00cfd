"""Everybody who takes part."""

from __future__ import annotations

from importlib import metadata

from studies.peers.by_diffrax import DIFFRAX
from studies.peers.by_torch import FLOW_MATCHING, K_DIFFUSION, TORCHDIFFEQ, ZUKO
from studies.peers.entrant import Entrant
from studies.peers.methods import EULER, SCORE_SDE
from studies.peers.ours import OURS

__all__ = ["ENTRANTS", "versions"]

ENTRANTS: tuple[Entrant, ...] = (
    OURS,
    DIFFRAX,
    FLOW_MATCHING,
    ZUKO,
    K_DIFFUSION,
    TORCHDIFFEQ,
    SCORE_SDE,
    EULER,
)


def versions() -> dict[str, str]:
    """Of all packages in the race, and of the two engines."""
    found = {}
    for name in dict.fromkeys([*(e.package for e in ENTRANTS), "jax", "torch"]):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
