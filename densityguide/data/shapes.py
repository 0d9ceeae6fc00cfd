"""Shapes in the plane whose density is known: many equal Gaussians strung along curves.

    p(x) = 1/K sum_k N(x; centre_k, SPREAD^2 I)

The centres lie closer together than SPREAD, so the density is smooth along the curve, and
``worlds.mixture(1/K, centres, SPREAD)`` is its flow with the exact density at every noise level.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LICENCE", "NAMES", "SPREAD", "centres", "read"]

LICENCE = "CC0 1.0 (points drawn by densityguide)"
SPREAD = 0.05
TRAIN, HELDOUT = 40000, 4000


def _spiral(count: int) -> np.ndarray:
    """Two arms of one and a half turns, centres evenly spaced in angle: denser in the middle."""
    angle = np.linspace(0.25 * np.pi, 3.0 * np.pi, count // 2)
    arm = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1) / (3.0 * np.pi)
    return np.concatenate([arm, -arm])


def _moons(count: int) -> np.ndarray:
    """Two interleaved half circles."""
    angle = np.linspace(0.0, np.pi, count // 2)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    lower = np.stack([1.0 - np.cos(angle), 0.5 - np.sin(angle)], 1)
    return (np.concatenate([upper, lower]) - [0.5, 0.25]) / 1.5


def _rings(count: int) -> np.ndarray:
    """Two circles around one centre, of the same mass, so that the inner one is denser."""
    angle = 2.0 * np.pi * np.arange(count // 2) / (count // 2)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.concatenate([0.45 * circle, circle])


NAMES = {"spiral2d": (_spiral, 480), "moons2d": (_moons, 160), "rings2d": (_rings, 320)}


def centres(name: str) -> np.ndarray:
    """The centres [K, 2] of one of `NAMES`, within [-1, 1]."""
    make, count = NAMES[name]
    return make(count)


def read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Points float32 [44000, 2] and their held-out mask; the same ones every time."""
    rng = np.random.Generator(np.random.PCG64(list(name.encode())))
    middle = centres(name)
    points = middle[rng.integers(len(middle), size=TRAIN + HELDOUT)]
    points = points + SPREAD * rng.standard_normal(points.shape)
    return points.astype(np.float32), np.arange(len(points)) >= TRAIN
