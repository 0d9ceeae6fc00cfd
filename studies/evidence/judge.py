"""Quality of sets of samples of one model, all of them judged alike."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from studies.evidence import distances, features
from studies.evidence.subjects import Subject

__all__ = ["MEASURES", "Judge"]

MEASURES = {
    "sliced": "sliced Wasserstein distance",
    "kernel": "kernel distance",
    "precision": "precision",
    "recall": "recall",
}
REFERENCES, DIRECTIONS, TRAIN = 4, 128, 20_000


class Judge:
    """Compares sets of ``count`` samples with training data, and the same ``halves`` random halves
    of every set, so that differences between sets are paired."""

    def __init__(self, subject: Subject, count: int, halves: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        train, heldout = subject.train(TRAIN), subject.data.heldout
        self.spaces = {"pixels": features.standardised(train)}
        self.accuracy = self.classes = np.nan
        if subject.is_image:
            told, self.accuracy = features.of(subject.data, seed)
            scaled = features.standardised(told.features(train))
            self.spaces["features"] = lambda images: scaled(told.features(images))
            self.classes = float(told.classes)
        self.train = self.spaces["pixels"](train)
        self.unseen = float(
            np.median(distances.nearest(self.spaces["pixels"](heldout), self.train))
        )
        order = generator.permutation(len(subject.data.train))[: REFERENCES * count]
        references = np.asarray(subject.data.train[order])
        self.references, self.directions = {}, {}
        for name, space in self.spaces.items():
            sets = np.split(space(references), REFERENCES)
            lines = generator.normal(size=(sets[0].shape[1], DIRECTIONS))
            self.references[name] = sets
            self.directions[name] = lines / np.linalg.norm(lines, axis=0)
        picks = [generator.permutation(count)[: count // 2] for _ in range(2 * halves)]
        everyone = np.arange(count)
        self.draws = [(everyone, everyone), *zip(picks[::2], picks[1::2], strict=True)]

    def rows(self, found: np.ndarray, log_p: np.ndarray) -> Iterator[dict[str, float]]:
        """A row for the whole set, draw 0, and one for each half; a measure is the mean over the
        sets of training data, ``nearest`` the median distance to training data relative to that of
        held-out data."""
        places = {name: space(found) for name, space in self.spaces.items()}
        compact = {
            name: _rotated(place, self.references[name], self.directions[name])
            for name, place in places.items()
        }
        near = distances.nearest(places["pixels"], self.train) / self.unseen
        for draw, (mine, theirs) in enumerate(self.draws):
            row = {
                "draw": float(draw),
                "failed": float(np.isnan(log_p[mine]).sum()),
                "log_density": float(np.nanmean(log_p[mine])),
                "spread": float(np.nanstd(log_p[mine], ddof=1)),
                "nearest": float(np.median(near[mine])),
                "accuracy": self.accuracy,
                "classes": self.classes,
            }
            for name, (place, sets, lines) in compact.items():
                size = places[name].shape[1]
                values = [_compare(place[mine], data[theirs], lines, size) for data in sets]
                means = np.mean(values, axis=0)
                row |= {f"{key} {name}": float(v) for key, v in zip(MEASURES, means, strict=True)}
            yield row


def _rotated(
    points: np.ndarray, sets: list[np.ndarray], directions: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """All in coordinates of the space that points and sets span, where that is smaller: distances
    and products are what they were, at a fraction of the cost."""
    together = np.concatenate([points, *sets])
    if len(together) >= together.shape[1]:
        return points, sets, directions
    basis, _ = np.linalg.qr(together.T)
    return points @ basis, [data @ basis for data in sets], basis.T @ directions


def _compare(
    points: np.ndarray, data: np.ndarray, directions: np.ndarray, size: int
) -> tuple[float, ...]:
    return (
        distances.sliced(points, data, directions),
        distances.kernel(points, data, size),
        *distances.precision_recall(points, data),
    )
