"""Features of pictures from a small convolutional classifier, trained here on the labels of a data
set; where there are none, on which way up a picture is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from densityguide import data

__all__ = ["Classifier", "of", "standardised", "train", "turned"]

WIDTHS, HIDDEN, BATCH, RATE = (32, 64), 128, 128, 2e-3
SEEN, ROUNDS = 250_000, 60  # pictures in training, and at most so often each


def standardised(data: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Rows of any such data, less the mean of these and divided by one scale, their root mean
    square deviation."""
    rows = data.reshape(len(data), -1).astype(np.float64)
    centre = rows.mean(axis=0)
    scale = np.sqrt(np.mean((rows - centre) ** 2))
    return lambda points: (points.reshape(len(points), -1) - centre) / scale


class Network(nnx.Module):
    """Two convolutions of 3x3 with stride 2, and two layers; pictures [n, H, W, C] to 0 .. 1."""

    def __init__(self, shape: tuple[int, ...], classes: int, seed: int) -> None:
        rngs = nnx.Rngs(seed)
        halves = tuple(-(-side // 4) for side in shape[:2])
        conv = partial(nnx.Conv, kernel_size=(3, 3), strides=2, rngs=rngs)
        self.first, self.second = conv(shape[2], WIDTHS[0]), conv(*WIDTHS)
        self.hidden = nnx.Linear(halves[0] * halves[1] * WIDTHS[1], HIDDEN, rngs=rngs)
        self.last = nnx.Linear(HIDDEN, classes, rngs=rngs)

    def features(self, x: jax.Array) -> jax.Array:
        """The last hidden layer [n, 128]."""
        x = nnx.relu(self.second(nnx.relu(self.first(x))))
        return nnx.relu(self.hidden(x.reshape(len(x), -1)))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.features(x))


@dataclass(frozen=True)
class Classifier:
    """A trained network, and what it tells: "classes", or "rotations" by 90 degrees (Gidaris et
    al., ICLR 2018)."""

    network: Network
    levels: int
    task: str
    classes: int

    def features(self, images: np.ndarray) -> np.ndarray:
        """The last hidden layer [n, 128]."""
        return self._each(Network.features, images)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Share of the labels of these pictures that are told; chance is 1 / ``classes``."""
        return float(np.mean(self._each(Network.__call__, images).argmax(axis=-1) == labels))

    def _each(self, layer: Callable[..., Any], images: np.ndarray) -> np.ndarray:
        graph, weights = nnx.split(self.network)
        run = jax.jit(lambda weights, x: layer(nnx.merge(graph, weights), x))
        parts = np.array_split(images, max(1, len(images) // 1000))
        return np.concatenate([run(weights, _scaled(part, self.levels)) for part in parts])


def of(dataset: data.Dataset, seed: int) -> tuple[Classifier, float]:
    """A classifier of the classes of a data set, or of rotations where it has none, and its
    accuracy on held-out pictures."""
    images = np.asarray(dataset.train[: len(dataset.train)])
    if dataset.labels is None or dataset.heldout_labels is None:
        told = train(*turned(images), dataset.levels, seed, "rotations")
        return told, told.accuracy(*turned(dataset.heldout))
    told = train(images, dataset.labels, dataset.levels, seed, "classes")
    return told, told.accuracy(dataset.heldout, dataset.heldout_labels)


def train(images: np.ndarray, labels: np.ndarray, levels: int, seed: int, task: str) -> Classifier:
    """Adam with a cosine decay, on pictures [n, H, W, C] drawn with replacement."""
    classes = int(labels.max()) + 1
    network = Network(images.shape[1:], classes, seed)
    steps = min(SEEN, ROUNDS * len(images)) // BATCH
    optimiser = nnx.Optimizer(
        network, optax.adam(optax.cosine_decay_schedule(RATE, steps)), wrt=nnx.Param
    )

    @nnx.jit
    def step(network: Network, optimiser: Any, x: jax.Array, y: jax.Array) -> None:
        def loss(network: Network) -> jax.Array:
            each = optax.softmax_cross_entropy_with_integer_labels(network(x), y)
            return each.mean()

        optimiser.update(network, nnx.grad(loss)(network))

    generator = np.random.default_rng(seed)
    for _ in range(steps):
        rows = generator.integers(len(images), size=BATCH)
        step(network, optimiser, _scaled(images[rows], levels), jnp.asarray(labels[rows]))
    return Classifier(network, levels, task, classes)


def turned(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square pictures turned by 0 to 3 quarters, and by how many."""
    found = [np.rot90(images, turns, axes=(1, 2)) for turns in range(4)]
    return np.concatenate(found), np.repeat(np.arange(4), len(images))


def _scaled(images: np.ndarray, levels: int) -> jax.Array:
    return jnp.asarray(images, jnp.float32) / (levels - 1)
