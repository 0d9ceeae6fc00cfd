"""``densityguide data``: build a data set, say what it is, keep it as npz."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densityguide import data
from densityguide.app.commands.extras import needs
from densityguide.app.names import shown
from densityguide.disk import folders as folder

__all__ = ["build", "own", "plane", "sides"]


def build(
    name: str,
    out: Path,
    font: str | os.PathLike[str] | None,
    shape: Sequence[int] = (),
) -> None:
    """Write ``out`` and print count, shape, levels, checksum and licence. ``name`` is one of
    ``data.NAMES``, an npz file or a folder of pictures, which are cut to ``shape``."""
    folder.check_file(out, ours=folder.holds("train", "heldout", "checksum"))
    with needs("train", f"the data set {name}"):
        built = data.load(name, font, shape, memory=math.inf)
    parts = {
        "train": built.train[:],
        "heldout": built.heldout,
        "labels": built.labels,
        "heldout_labels": built.heldout_labels,
        "levels": np.asarray(built.levels),
        "checksum": np.asarray(built.checksum),
        "licence": np.asarray(built.licence),
    }
    arrays = {key: value for key, value in parts.items() if value is not None}
    folder.write(out.parent, {out.name: lambda path: folder.write_npz(path, arrays)})
    kind = "images" if built.levels else "points"
    print(
        f"{shown(built.name)}: {len(built.train)} training and {len(built.heldout)} held-out {kind}"
    )
    values = f"{built.train.dtype}, {built.levels} levels" if built.levels else built.train.dtype
    print(f"shape:    {' x '.join(map(str, built.shape))}, {values}")
    if built.labels is not None:
        print(f"classes:  {int(built.labels.max()) + 1}")
    print(f"checksum: {built.checksum} (SHA-256)")
    print(f"licence:  {shown(built.licence)}")
    print(f"wrote     {shown(out)}")


def own(source: Path) -> str:
    """The path of data of one's own; FileNotFoundError without any."""
    if not source.exists():
        raise FileNotFoundError(
            f"expected a folder of pictures or an npz file, {source} does not exist"
        )
    return str(source.resolve())


def sides(text: str | None) -> tuple[int, ...]:
    """``"32x32x3"`` -> (32, 32, 3), nothing for None; ValueError for anything else."""
    if text is None:
        return ()
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(
            f"--shape must be HEIGHTxWIDTHxCHANNELS, as 32x32x3 (or x1 for grey), got {text!r}"
        )
    return tuple(map(int, parts))


def plane(shape: str) -> str:
    """``"spiral"`` -> ``"spiral2d"``; ValueError for a shape that is not there."""
    names = [name.removesuffix("2d") for name in data.NAMES if name.endswith("2d")]
    if shape not in names:
        raise ValueError(f"SHAPE must be {', '.join(names[:-1])} or {names[-1]}, got {shape!r}")
    return f"{shape}2d"
