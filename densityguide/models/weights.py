"""Parameters as safetensors: flat names joined with '/', float16 or float32 storage, no pickle."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

__all__ = ["read", "sha256", "write"]

STORAGE = {"float16": np.float16, "float32": np.float32}


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def write(path: str | os.PathLike[str], params: Any, storage: str = "float16") -> str:
    """Write nested dicts of arrays; returns the file's SHA-256.

    ValueError for a storage type other than float16 and float32, and for values that are not
    finite in it.
    """
    from safetensors.numpy import save

    if storage not in STORAGE:
        raise ValueError(f"expected storage float16 or float32, got {storage!r}")
    flat = {}
    for name, value in flatten_dict(params, sep="/").items():
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(np.asarray(value, np.float32).astype(STORAGE[storage]))
        if not np.isfinite(stored).all():
            raise ValueError(f"expected finite values in {storage}, {name} has others: use float32")
        flat[name] = stored
    temporary = Path(f"{path}.part")
    temporary.write_bytes(save(flat))
    temporary.replace(path)
    return sha256(path)


def read(path: str | os.PathLike[str], checksum: str | None = None) -> Any:
    """Nested dicts of float32 arrays, whatever the storage.

    FileNotFoundError without the file; ValueError for a damaged one, or one whose SHA-256 is not
    `checksum`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a weights file, {path} does not exist")
    content = path.read_bytes()
    if checksum is not None and hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(
            f"expected weights with the SHA-256 of the model card, {path} differs: the file is "
            "damaged or belongs to another card; fetch or export the model again"
        )
    try:
        flat = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"expected a safetensors file, {path} is damaged ({reason}): fetch or export it again"
        ) from None
    return unflatten_dict({k: jnp.asarray(v, jnp.float32) for k, v in flat.items()}, sep="/")
