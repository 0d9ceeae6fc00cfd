"""What is studied: a shipped model with the data it was trained on, or a network of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from densityguide import data, models, parallel
from densityguide.density.trace import Trace, exact, orthogonal
from densityguide.flow.flow import Flow
from densityguide.models import pretrained
from studies.third_party import mnist_networks

__all__ = ["AGAIN", "Subject", "load", "names", "retrained"]

EXACT, PROBES = 16, 2  # dimensions up to which traces are exact, and probes beyond
FAMILIES = {
    "variance_preserving": "VP diffusion",
    "variance_exploding": "VE diffusion (EDM)",
    "linear": "flow matching",
}
NETWORKS = {"unet": "U-Net", "dit": "transformer", "mlp": "MLP"}
FOREIGN = "of others"
AGAIN = "-again"
RETRAINED = Path(__file__).parents[1] / "retrained"


@dataclass(frozen=True)
class Subject:
    """A model by its name, with its flow, which kind of generative model and which architecture it
    is, and its data where they are here."""

    name: str
    flow: Flow
    family: str
    network: str
    data_name: str | None = None
    ends: tuple[float, float] = (0.0, 1.0)  # black and white, where the flow declares no transform

    @property
    def is_image(self) -> bool:
        """Whether its samples are pictures."""
        return len(self.flow.shape) == 3

    @property
    def trace(self) -> Trace:
        """Exact in a few dimensions, two probes beyond."""
        return self.estimate(PROBES)

    def estimate(self, probes: int) -> Trace:
        """A trace by ``probes`` probes; exact in a few dimensions."""
        return exact() if self.flow.size <= EXACT else orthogonal(probes)

    @cached_property
    def data(self) -> data.Dataset:
        """The data set it was trained on; ValueError where it is not here."""
        if self.data_name is None:
            raise ValueError(
                f"expected a model whose data are here, got {self.name}: leave it out of questions "
                "that compare with data"
            )
        return data.load(self.data_name)

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
        """Integer pictures of states, with values 0 .. `levels` - 1; points as they are."""
        transform = self.flow.transform
        if transform is not None:
            return np.asarray(transform.inverse(states))
        if not self.is_image:
            return states
        low, high = self.ends
        shades = (np.asarray(states, np.float64) - low) / (high - low) * (self.levels - 1)
        return shades.round().clip(0, self.levels - 1).astype(np.uint8)

    @property
    def levels(self) -> int:
        """Shades of each channel of its pictures."""
        return 256 if self.data_name is None else self.data.levels

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


def names() -> tuple[str, ...]:
    """The shipped models, and the networks that others trained."""
    return (*models.names(), *mnist_networks.NAMES)


def retrained() -> tuple[str, ...]:
    """Shipped models of which there is another training."""
    return tuple(sorted(card.parent.name for card in RETRAINED.glob("*/card.json")))


@lru_cache(maxsize=12)
def load(name: str) -> Subject:
    """ValueError or FileNotFoundError, one line, for a model that is not known. ``NAME`` and
    `AGAIN`: its other training.
    """
    if name in mnist_networks.NAMES:
        flow, ends = mnist_networks.load(name), mnist_networks.RANGES[name]
        return Subject(name, flow, FAMILIES["variance_preserving"], FOREIGN, ends=ends)
    first = name.removesuffix(AGAIN)
    folder = pretrained.folder_of(first if first == name else str(RETRAINED / first))
    _, _, card = pretrained.load(folder)
    network = NETWORKS[card.network["kind"].removeprefix("edm_")]
    flow = models.load(str(folder))
    return Subject(first, flow, FAMILIES[card.path], network, card.data["name"])
