"""Pictures that a model was not trained on, of its own shape."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from densityguide import data
from studies.evidence.subjects import Subject

__all__ = ["OTHERS", "fitted", "sets"]

# model -> a data set that is not its own
OTHERS = {
    "fashion28": "digits8",
    "digits8": "fashion28",
    "digits8-flow": "fashion28",
    "digits8-edm": "fashion28",
    "tiles32": "emoji32",
    "emoji32": "tiles32",
}
BLUR = 1.0  # pixels


def sets(subject: Subject, count: int, seed: int) -> dict[str, np.ndarray]:
    """name -> integer pictures [count, H, W, C]: another data set, and the model's own held-out
    pictures blurred, with their pixels in random order, plain ones of the same mean colours, and
    noise."""
    own, generator = subject.heldout(count), np.random.default_rng(seed)
    other = OTHERS[subject.name]
    strangers = data.load(other)
    picked = np.linspace(0, len(strangers.heldout) - 1, len(own)).round().astype(int)
    places = generator.permutation(own[0, ..., 0].size)
    rows = own.reshape(len(own), -1, own.shape[-1])
    blurred = ndimage.gaussian_filter(own.astype(float), (0.0, BLUR, BLUR, 0.0))
    means = own.mean(axis=(1, 2), keepdims=True)
    return {
        other: fitted(strangers.heldout[picked], strangers.levels, own.shape[1:], subject.levels),
        "blurred": blurred.round().astype(np.uint8),
        "pixels in another order": rows[:, places].reshape(own.shape),
        "plain": np.broadcast_to(means, own.shape).round().astype(np.uint8),
        "noise": generator.integers(0, subject.levels, own.shape).astype(np.uint8),
    }


def fitted(images: np.ndarray, levels: int, shape: tuple[int, ...], wanted: int) -> np.ndarray:
    """Pictures [n, H, W, C] of so many levels in another shape and number of levels: resized by
    Pillow's bilinear filter; grey is the mean of the channels."""
    grey = images.shape[-1] != shape[-1]
    size, found = (shape[1], shape[0]), []
    for image in images.astype(np.float32) / (levels - 1):
        channels = image.mean(axis=-1, keepdims=True) if grey else image
        sized = [
            np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR))
            for channel in np.moveaxis(channels, -1, 0)
        ]
        found.append(np.broadcast_to(np.stack(sized, axis=-1), shape))
    return (np.stack(found).clip(0.0, 1.0) * (wanted - 1)).round().astype(np.uint8)
