"""Parameters as safetensors: flat names joined with '/', float16 or float32 storage, no pickle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from densityguide.disk import atomic, files

__all__ = ["Tensor", "names_of", "read", "tensors", "write"]

STORAGE = {"float16": np.float16, "float32": np.float32}
KINDS = {"F16": "float16", "F32": "float32"}
SPELT = {"BF16": "bfloat16", "F64": "float64", "BOOL": "bool"} | {
    f"{kind}{bits}": f"{name}{bits}"
    for kind, name in (("I", "int"), ("U", "uint"))
    for bits in (8, 16, 32, 64)
}
DEEPEST = 64  # parts of a name


class Tensor(NamedTuple):
    """What the head of a file says of one array."""

    shape: tuple[int, ...]
    storage: str


def names_of(params: Any) -> dict[str, Any]:
    """Nested dicts of arrays by their flat names."""
    flat: dict[str, Any] = flatten_dict(params, sep="/")
    return flat


def write(path: str | os.PathLike[str], params: Any, storage: str = "float16") -> str:
    """Write nested dicts of arrays; returns the file's SHA-256.

    ValueError for a storage type other than float16 and float32, and for values that are not
    finite in it.
    """
    from safetensors.numpy import save

    if storage not in STORAGE:
        raise ValueError(f"expected storage float16 or float32, got {storage!r}")
    flat = {}
    for name, value in names_of(params).items():
        with np.errstate(over="ignore"):
            stored = np.asarray(np.asarray(value, np.float32), STORAGE[storage], order="C")
        if not np.isfinite(stored).all():
            raise ValueError(f"expected finite values in {storage}, {name} has others: use float32")
        flat[name] = stored
    atomic.write(path, save(flat))
    return files.sha256(path)


def tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """What a file holds, from its head alone: little is read, whatever its size.

    FileNotFoundError without the file; ValueError for a damaged one, one whose arrays are neither
    float16 nor float32, and one whose names are no tree.
    """
    path = files.ordinary(path, "a weights file")
    found = {}
    with _opened(path) as stored:
        for name in stored.keys():  # noqa: SIM118  (the file is no dict)
            part = stored.get_slice(name)
            kind = part.get_dtype()
            if kind not in KINDS:
                raise ValueError(
                    f"expected float16 or float32 in {path}, {name:.80} is "
                    f"{SPELT.get(kind, kind)}, which is not supported: export the model again"
                )
            found[name] = Tensor(tuple(part.get_shape()), KINDS[kind])
    for name in found:
        parents = [name[:at] for at, letter in enumerate(name) if letter == "/"]
        if len(parents) >= DEEPEST or any(parent in found for parent in parents):
            raise ValueError(
                f"expected the parameters of a network, {path} holds others (an array named "
                f"{name!r:.80}): export the model again"
            )
    return found


def read(path: str | os.PathLike[str], checksum: str | None = None) -> Any:
    """Nested dicts of float32 arrays, whatever the storage.

    FileNotFoundError without the file; ValueError for a damaged one, one whose SHA-256 is not
    `checksum`, one of other types than float16 and float32, and one that holds NaN or infinity.
    """
    path, names = Path(path), tensors(path)
    if checksum is not None and files.sha256(path) != checksum:
        raise ValueError(
            f"expected weights with the SHA-256 of the model card, {path} differs: the file is "
            "damaged or belongs to another card; fetch or export the model again"
        )
    flat: dict[str, jax.Array] = {}
    with _opened(path) as stored:
        for name in names:
            value = stored.get_tensor(name)
            if not np.isfinite(value).all():
                raise ValueError(
                    f"expected finite weights, {path} holds NaN or infinity in {name:.80}: the "
                    "training may have failed; export the model again"
                )
            flat[name] = jnp.asarray(value, jnp.float32)
    return unflatten_dict(flat, sep="/")


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    with path.open("rb"):  # a file that may not be read is not a damaged one
        pass
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"expected a safetensors file, {path} is damaged ({reason:.200}): fetch or export it "
            "again"
        ) from None
