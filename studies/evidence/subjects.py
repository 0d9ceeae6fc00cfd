"""What is studied: a shipped model with the data it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np

from densityguide import data, models, parallel
from densityguide.density.trace import Trace, exact, orthogonal
from densityguide.flow.flow import Flow
from densityguide.models import pretrained
from densityguide.models.card import Card

__all__ = ["Subject", "load"]

EXACT, PROBES = 16, 2  # dimensions up to which traces are exact, and probes beyond
FAMILIES = {
    "variance_preserving": "VP diffusion",
    "variance_exploding": "VE diffusion (EDM)",
    "linear": "flow matching",
}
NETWORKS = {"unet": "U-Net", "dit": "transformer", "mlp": "MLP"}


@dataclass(frozen=True)
class Subject:
    """A model by its name, with its flow, its card and its data."""

    name: str
    flow: Flow
    card: Card

    @property
    def family(self) -> str:
        """Which kind of generative model it is."""
        return FAMILIES[self.card.path]

    @property
    def network(self) -> str:
        """The architecture."""
        return NETWORKS[self.card.network["kind"].removeprefix("edm_")]

    @property
    def is_image(self) -> bool:
        """Whether its samples are pictures."""
        return self.flow.transform is not None

    @property
    def trace(self) -> Trace:
        """Exact in a few dimensions, two probes beyond."""
        return self.estimate(PROBES)

    def estimate(self, probes: int) -> Trace:
        """A trace by ``probes`` probes; exact in a few dimensions."""
        return exact() if self.flow.size <= EXACT else orthogonal(probes)

    @cached_property
    def data(self) -> data.Dataset:
        """The data set it was trained on."""
        return data.load(self.card.data["name"])

    def heldout(self, count: int) -> np.ndarray:
        """``count`` of the data that training never saw, or all there are; spread over the set."""
        return _spread(self.data.heldout, count)

    def train(self, count: int) -> np.ndarray:
        """``count`` of the training data."""
        return _spread(self.data.train, count)

    def states(self, samples: np.ndarray, seed: int) -> np.ndarray:
        """Data as the model takes it: pictures dequantised, points as they are."""
        transform = self.flow.transform
        if transform is None:
            return np.asarray(samples, np.float32)
        keys = jax.random.split(jax.random.key(seed), len(samples))
        return np.asarray(jax.vmap(transform)(samples, keys))

    def pictures(self, states: np.ndarray) -> np.ndarray:
        """Integer pictures of states; points as they are."""
        transform = self.flow.transform
        return states if transform is None else np.asarray(transform.inverse(states))

    def each(self, fn: Callable[..., Any], *samples: Any) -> Any:
        """``fn(flow, *sample)`` for every sample, as NumPy arrays: blocks on all devices."""
        return parallel.pmap(fn, block=self.block)(self.flow, *samples)

    @property
    def block(self) -> int:
        """Samples at a time: few where one keeps a core busy."""
        return 8 if self.flow.size > 256 else 32


def _spread(samples: Any, count: int) -> np.ndarray:
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    return np.asarray(samples[chosen])


@lru_cache(maxsize=8)
def load(name: str) -> Subject:
    """ValueError or FileNotFoundError, one line, for a model that is not shipped."""
    _, _, card = pretrained.load(pretrained.folder_of(name))
    return Subject(name, models.load(name), card)
