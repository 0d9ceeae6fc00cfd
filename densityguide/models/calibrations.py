"""The calibration beside a model's weights: of the model, or of each of its classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save

from densityguide.checks import require
from densityguide.disk import atomic, files
from densityguide.flow.calibration import Calibration

__all__ = ["FILE", "read", "write"]

FILE = "calibration.safetensors"
LARGEST = 2**20  # bytes of it
SLACK = 1e-3  # of log-SNR: ends are stored as float32


def write(folder: str | os.PathLike[str], calibrations: Sequence[Calibration]) -> None:
    """Write the calibration of a model, or those of no class and of each class in their order,
    whole or not at all. ``times`` [n] are shared; with classes [K], the other arrays are
    ``log_density`` and ``spread`` [K, n] and ``dial`` [K, 2].

    Raises:
        ValueError: calibrations of one model that do not share their times, or of which some have
            a dial and some have none.
    """
    first = calibrations[0]
    alike = all(
        np.array_equal(each.times, first.times) and (each.dial is None) == (first.dial is None)
        for each in calibrations
    )
    require(
        alike,
        "expected calibrations with the same times, all with or all without a dial: calibrate "
        "every class by the same steps",
    )
    rows = {name: [getattr(each, name) for each in calibrations] for name in Calibration._fields}
    arrays = {
        name: np.stack([np.asarray(value, np.float32) for value in values])
        for name, values in rows.items()
        if values[0] is not None
    }
    single = len(calibrations) == 1
    arrays = {k: v[0] if single or k == "times" else v for k, v in arrays.items()}
    atomic.write(Path(folder) / FILE, save(arrays))


def read(
    folder: Path, log_snr: tuple[float, float], classes: int
) -> tuple[Calibration | None, Calibration | None]:
    """The calibration of the model (told no class), and those of all classes, stacked; None where
    the folder has none. ValueError for arrays that do not fit this model."""
    file = folder / FILE
    if not (file.exists() or file.is_symlink()):
        return None, None
    content = files.read(file, "a calibration", LARGEST)
    try:
        with np.errstate(over="ignore"):  # infinity is refused below
            values = {name: np.asarray(value, np.float32) for name, value in parse(content).items()}
        many = values["log_density"].ndim == 2
        _check(values, log_snr, (classes,) if many and classes else ())
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"expected a calibration in {file}, it is damaged ({reason:.200}): calibrate again"
        ) from None
    found = Calibration(**{key: jnp.asarray(value) for key, value in values.items()})
    if not many:
        return found, None
    stacked = found._replace(times=jnp.tile(found.times, (classes, 1)))
    return jax.tree.map(lambda value: value[0], stacked), stacked


def _check(
    values: dict[str, np.ndarray], log_snr: tuple[float, float], classes: tuple[int, ...]
) -> None:
    if set(values) | {"dial"} != set(Calibration._fields):
        raise ValueError(f"it holds {', '.join(sorted(values)) or 'nothing'}")
    times, (low, high) = values["times"], log_snr
    if times.ndim != 1 or len(times) < 2:
        raise ValueError("its times must be two or more")
    shapes = {name: (*classes, len(times)) for name in ("log_density", "spread")}
    wrong = [name for name, shape in shapes.items() if values[name].shape != shape]
    if wrong:
        raise ValueError(f"{wrong[0]} must be {list(shapes[wrong[0]])}")
    dial = values.get("dial", np.broadcast_to(np.asarray([0.0, 1.0]), (*classes, 2)))
    if dial.shape != (*classes, 2) or not ((dial >= 0) & (dial <= 1)).all():
        raise ValueError("a dial must be two quantiles")
    if not (dial[..., 0] <= dial[..., 1]).all():
        raise ValueError("a dial must be two quantiles, the lower first")
    if not all(np.isfinite(value).all() for value in values.values()):
        raise ValueError("it holds values that are not finite")
    if not (np.diff(times) > 0).all() or times[0] < low - SLACK or times[-1] > high + SLACK:
        raise ValueError(f"times must rise within the log-SNR of the model, {low:g} .. {high:g}")
    if values["spread"].min() < 0:
        raise ValueError("a spread cannot be negative")
