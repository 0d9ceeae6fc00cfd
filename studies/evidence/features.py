"""Features of pictures from a small classifier that needs no labels: which way up is it?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

__all__ = ["Rotations", "standardised", "train"]

HIDDEN, EPOCHS = (256, 64), 15


def standardised(data: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Rows of any such data, less the mean of these and divided by one scale, their root mean
    square deviation."""
    rows = data.reshape(len(data), -1).astype(np.float64)
    centre = rows.mean(axis=0)
    scale = np.sqrt(np.mean((rows - centre) ** 2))
    return lambda points: (points.reshape(len(points), -1) - centre) / scale


@dataclass(frozen=True)
class Rotations:
    """A classifier of the four rotations by 90 degrees (Gidaris et al., ICLR 2018)."""

    network: MLPClassifier
    rows: Callable[[np.ndarray], np.ndarray]

    def features(self, images: np.ndarray) -> np.ndarray:
        """The last hidden layer [n, 64]."""
        values = self.rows(images)
        layers = list(zip(self.network.coefs_, self.network.intercepts_, strict=True))
        for weights, offset in layers[:-1]:
            values = np.maximum(values @ weights + offset, 0.0)
        return values

    def accuracy(self, images: np.ndarray) -> float:
        """Share of rotations of these square pictures that are told; chance is 0.25."""
        turned, labels = _turned(images)
        return float(self.network.score(self.rows(turned), labels))


def train(images: np.ndarray, seed: int) -> Rotations:
    """Trained on square pictures [n, H, H, C], for `EPOCHS` epochs."""
    rows = standardised(images)
    turned, labels = _turned(images)
    network = MLPClassifier(HIDDEN, max_iter=EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are what was asked for
        network.fit(rows(turned), labels)
    return Rotations(network, rows)


def _turned(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turned = [np.rot90(images, turns, axes=(1, 2)) for turns in range(4)]
    return np.concatenate(turned), np.repeat(np.arange(4), len(images))
