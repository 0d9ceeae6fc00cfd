"""Pictures of any size, cut square and scaled to a model's shape as training does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densityguide.app.commands import inputs
from densityguide.app.commands.inputs import Inputs
from densityguide.app.source import Source
from densityguide.data import folder, pictures

__all__ = ["open_any", "told"]


def open_any(paths: Sequence[Path], array: str | None, loaded: Source) -> Inputs:
    """As `inputs.open_inputs`, but pictures may have any size, and transparent ones are put on
    white; ValueError or FileNotFoundError, one line, for anything else."""
    arrays = [path for path in paths if inputs.is_array(path)]
    if arrays or array is not None or not _takes_pictures(loaded):
        return inputs.open_inputs(paths, array, loaded)
    files = [file for path in paths for file in inputs.files_of(path)]
    shape, levels = loaded.flow.shape, loaded.flow.transform.levels
    cut = np.stack([_cut(path, shape) for path in files])
    # A picture's 256 levels to the model's.
    cut = np.rint(cut * ((levels - 1) / 255.0)).astype(np.uint8 if levels <= 256 else np.uint16)
    return Inputs([str(path) for path in files], True, lambda start, stop: cut[start:stop])


def _takes_pictures(loaded: Source) -> bool:
    return loaded.is_image and hasattr(loaded.flow.transform, "levels")


def _cut(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return folder.decode(path, shape)
    except ValueError as error:
        said = str(error)
        raise ValueError(said if str(path) in said else f"{path} is {said}") from None


def told(path: str, shape: tuple[int, ...]) -> str | None:
    """What was done to a picture, if anything."""
    if inputs.is_array(Path(path)) or not Path(path).is_file():
        return None
    with pictures.opened(path) as picture:
        height, width = pictures.size(picture)
    if (height, width) == shape[:2]:
        return None
    whole = height * shape[1] == width * shape[0]
    part = "scaled" if whole else "its middle cut out and scaled"
    return f"{width} x {height} pixels, {part} to {shape[1]} x {shape[0]}"
