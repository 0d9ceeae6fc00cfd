"""32x32 pixel-art tiles of the game Dungeon Crawl Stone Soup, in nine classes (CC0).

From the tile set of the repository crawl/tiles, its releases of 2010 and 2015, at their native
size, composited on white; tiles of unclear licence are left out. A third of the names occur in both
releases, so pictures are held out by *base name*, the file's name without its folders: no variant
of a held-out tile is in training. The array ships with the package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["FILE", "LICENCE", "base_name", "read"]

FILE = Path(__file__).with_name("tiles32.npz")
LICENCE = "CC0 1.0 (tiles of Dungeon Crawl Stone Soup, crawl/tiles, releases of 2010 and 2015)"


def base_name(name: str) -> str:
    """The file's name without its folders, which the releases arrange differently."""
    return name.rsplit("/", 1)[-1]


def read() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 [5307, 32, 32, 3], labels [5307], held-out mask [5307] and the names of the nine
    classes."""
    with np.load(FILE, allow_pickle=False) as stored:
        labels = stored["labels"].astype(np.int32)
        classes = tuple(str(name) for name in stored["classes"])
        return stored["images"], labels, stored["heldout"], classes
