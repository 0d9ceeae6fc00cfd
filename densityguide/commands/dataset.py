"""``densityguide data``: build a data set, say what it is, keep it as npz."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from densityguide import data
from densityguide.commands import folder
from densityguide.commands.extras import needs_train

__all__ = ["build"]


def _ours(path: Path) -> bool:
    try:
        with np.load(path) as stored:
            return {"train", "heldout", "checksum"} <= set(stored.files)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def build(name: str, out: Path, font: str | os.PathLike | None) -> None:
    """Write ``out`` and print count, shape, levels, checksum and licence."""
    folder.check_file(out, ours=_ours)
    with needs_train(f"the data set {name}"):
        built = data.load(name, font)
    arrays = {
        "train": built.train,
        "heldout": built.heldout,
        "levels": np.asarray(built.levels),
        "checksum": np.asarray(built.checksum),
        "licence": np.asarray(built.licence),
    }
    folder.write(out.parent, {out.name: lambda path: folder.write_npz(path, arrays)})
    print(f"{built.name}: {len(built.train)} training and {len(built.heldout)} held-out images")
    print(f"shape:    {' x '.join(map(str, built.shape))}, uint8, {built.levels} levels")
    print(f"checksum: {built.checksum} (SHA-256)")
    print(f"licence:  {built.licence}")
    print(f"wrote     {out}")
