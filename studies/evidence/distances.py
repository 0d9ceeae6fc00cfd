"""How far a set of samples is from a set of data, rows [n, F] of pixels or features.

Sliced Wasserstein distance (Bonneel et al., 2015), the kernel distance of KID (Binkowski et al.,
ICLR 2018), precision and recall by nearest-neighbour manifolds (Kynkaanniemi et al., NeurIPS 2019)
and the distance to the nearest training datum. The first two and recall depend on how many rows
there are: compare sets of equal size only.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

__all__ = ["kernel", "nearest", "precision_recall", "sliced"]


def sliced(points: np.ndarray, others: np.ndarray, directions: np.ndarray) -> float:
    """Root mean square, over unit ``directions`` [F, L], of the Wasserstein-2 distance between the
    projections of two sets of equal size."""
    one, two = (np.sort(rows @ directions, axis=0) for rows in (points, others))
    return float(np.sqrt(np.mean((one - two) ** 2)))


def kernel(points: np.ndarray, others: np.ndarray, size: int | None = None) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel ``(x . y / F + 1)^3``: 0 on average
    for sets of one distribution, so it may be negative. ``size`` is F where rows were rotated into
    fewer coordinates. [the rows' own]"""
    size = points.shape[1] if size is None else size

    def gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / size + 1.0) ** 3

    within = []
    for rows in (points, others):
        values = gram(rows, rows)
        within.append((values.sum() - np.trace(values)) / (len(rows) * (len(rows) - 1)))
    return float(within[0] + within[1] - 2.0 * gram(points, others).mean())


def precision_recall(points: np.ndarray, data: np.ndarray, rank: int = 3) -> tuple[float, float]:
    """(precision, recall): the share of points within the data's manifold and of data within the
    points', a manifold being the balls that reach to each member's ``rank``-th neighbour."""
    between = pairwise_distances(points, data)
    found = []
    for members, distance in ((data, between), (points, between.T)):
        own = pairwise_distances(members)
        radius = np.partition(own, rank, axis=1)[:, rank]  # the nearest of all is itself
        found.append(float((distance <= radius).any(axis=1).mean()))
    return found[0], found[1]


def nearest(points: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Distance [n] to the nearest datum; 0 for a copy."""
    distance, _ = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(data).kneighbors(points)
    return np.asarray(distance[:, 0])
