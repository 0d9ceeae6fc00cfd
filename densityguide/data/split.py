"""Which images are held out: a choice that follows from their pixels alone."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["held_out"]


def held_out(image: np.ndarray, fraction: float = 0.05) -> bool:
    """Whether the SHA-256 of the bytes, read as a number in [0, 1), is below `fraction`: the same
    on every machine and in every order, and equal images stay together."""
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64 < fraction
