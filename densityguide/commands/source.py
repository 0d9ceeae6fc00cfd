"""What ``--model`` names: a shipped network, an exported run, or a world with a closed form."""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from typing import NamedTuple

import jax.numpy as jnp

from densityguide import models, worlds
from densityguide.flows import Flow

__all__ = ["Source", "load", "world_names"]

PREFIX = "world:"


class Source(NamedTuple):
    """A flow and what to call it; ``levels`` counts the grey levels of an image model (or 0)."""

    name: str
    flow: Flow
    levels: int

    @property
    def is_image(self) -> bool:
        """Whether samples are pictures."""
        return self.levels > 0


def _worlds() -> dict:
    return tomllib.loads(resources.files(__package__).joinpath("worlds.toml").read_text("utf-8"))


def world_names() -> list[str]:
    """Names that may follow ``world:``."""
    return sorted(_worlds())


def _world(name: str) -> Flow:
    known = _worlds()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1) or sorted(known)
        raise ValueError(f"unknown world {name!r}: did you mean {PREFIX}{near[0]}?")
    values = known[name]
    if "weights" in values:
        return worlds.mixture(values["weights"], values["means"], values["scales"])
    factor = jnp.asarray(values["factor"])
    covariance = factor @ factor.T + values["floor"] * jnp.eye(factor.shape[0])
    return worlds.gaussian(values["mean"], covariance)


def load(spec: str) -> Source:
    """The flow of ``emoji32``, ``digits8``, ``world:mixture`` or a model folder; ValueError or
    FileNotFoundError, one line, for anything else."""
    if spec.startswith(PREFIX):
        return Source(spec, _world(spec.removeprefix(PREFIX)), 0)
    flow = models.load(spec)
    pictures = flow.transform is not None and len(flow.shape) == 3 and flow.shape[-1] in (1, 3)
    name = spec.rstrip("/").rsplit("/", 1)[-1]
    return Source(name, flow, flow.transform.levels if pictures else 0)
