"""Weights of PyTorch modules from their files; no file runs code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from densityguide.checks import require
from densityguide.flow.torch_modules import copied, engine

__all__ = ["from_torch"]

INSIDE = ("state_dict", "model_state_dict", "model", "ema")  # where checkpoints keep them


def from_torch(module: Any, file: str | os.PathLike[str], *, entry: str | None = None) -> Any:
    """A copy of the module with the weights of a file, in evaluation mode, for
    `densityguide.diffusion` and `densityguide.cnf`.

    Args:
        module: a ``torch.nn.Module`` of the right architecture.
        file: a state dict as safetensors or as ``torch.save`` writes it (``.pt``, ``.pth``), read
            with ``weights_only=True``; or a checkpoint that holds one as ``state_dict``, ``model``
            or ``ema``. A prefix of all names is dropped where the rest fits: DataParallel's,
            torch.compile's, that of a module inside a LightningModule.
        entry: the name of the state dict in a checkpoint (``ema``, ``ema.shadow``); needed where it
            holds several.

    Raises:
        FileNotFoundError: no such file.
        ValueError: torch is not installed, a damaged file, one that would run code, several state
            dicts and no ``entry``, or weights of another architecture.
    """
    torch = engine().torch
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"expected a file of weights, found none at {path}: check the path")
    weights = _weights(torch, _read(torch, path), path, entry)
    module = copied(module)
    own = module.state_dict()
    weights = _fitting(weights, own.keys())
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    wrong = [name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape]
    require(
        not (missing or extra or wrong),
        f"the weights in {path} are of another architecture than {type(module).__name__}: "
        f"{len(missing)} missing, {len(extra)} more, {len(wrong)} of another shape (first "
        f"{[*missing, *extra, *wrong][0] if missing or extra or wrong else ''})",
    )
    module.load_state_dict(weights)
    return module


def _read(torch: Any, path: Path) -> Any:
    from safetensors import SafetensorError

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"expected weights alone in {path}, it is damaged or holds objects that would run "
            "code: where it was made, save module.state_dict()"
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, SafetensorError) as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"the weights in {path} are damaged ({words}): copy them again") from None


def _weights(torch: Any, found: Any, path: Path, entry: str | None) -> dict[str, Any]:
    """Tensors by name."""

    def fine(value: Any) -> bool:
        return isinstance(value, dict) and bool(value) and all(map(torch.is_tensor, value.values()))

    def sets(name: str, value: Any, deep: int = 2) -> list[str]:
        """Names of what may be state dicts: averages often lie a level deeper, beside numbers."""
        if fine(value):
            return [name]
        inner = value.items() if deep and isinstance(value, dict) else ()
        return [one for key, part in inner for one in sets(f"{name}.{key}", part, deep - 1)]

    inside = found if isinstance(found, dict) else {}
    if entry is None and not fine(found):
        known = [one for name in INSIDE for one in sets(name, inside.get(name))]
        if len(known) > 1:
            raise ValueError(
                f"expected one state dict in {path}, it holds {', '.join(known)}: say which, "
                f"entry={known[-1]!r}"
            )
        entry = known[0] if known else None
    value = found
    for part in [] if entry is None else [entry] if entry in inside else entry.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if fine(value):
        return {str(name): tensor for name, tensor in value.items()}
    keys = ", ".join(map(str, list(found)[:5])) if isinstance(found, dict) else type(found).__name__
    raise ValueError(
        f"expected a state dict in {path}{'' if entry is None else f' as {entry}'}, it holds "
        f"{keys}: save module.state_dict() to a file"
    )


def _fitting(weights: dict[str, Any], names: Any) -> dict[str, Any]:
    """The weights without what stands before all of their names, if they then have these names."""
    rest = weights
    while rest and set(rest) != set(names):
        heads = {name.partition(".")[0] for name in rest}
        if len(heads) > 1 or not all("." in name for name in rest):
            return weights
        rest = {name.partition(".")[2]: tensor for name, tensor in rest.items()}
    return rest
