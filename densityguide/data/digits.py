"""8x8 handwritten digits of scikit-learn (UCI Optical Recognition, CC BY 4.0): 17 grey levels."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["LICENCE", "read"]

LICENCE = "CC BY 4.0 (UCI Optical Recognition of Handwritten Digits, via scikit-learn)"


def read() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [1797, 8, 8, 1] with values 0 .. 16, labels [1797], held-out mask [1797].

    An image is held out (about 5 %) by the SHA-256 of its pixels, so equal images stay together.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[..., None]
    first = [hashlib.sha256(image.tobytes()).digest()[0] for image in images]
    return images, bunch.target.astype(np.int32), np.asarray(first) < 13
