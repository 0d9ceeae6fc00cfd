"""What lies in a folder saved by Hugging Face diffusers, and what must not: read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from densityguide.checks import require

__all__ = ["DECODERS", "WEIGHTS", "check_weights", "components", "index_of", "listed", "read_json"]

WEIGHTS = "diffusion_pytorch_model"
DECODERS = ("vae", "vqvae", "movq")  # components that make a model one of latents


def read_json(path: Path) -> dict[str, Any]:
    """A config; FileNotFoundError or ValueError, one line."""
    if not path.is_file():
        raise FileNotFoundError(f"expected {path}, it does not exist: save the whole pipeline")
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"expected JSON in {path}, it is damaged ({error}): copy it") from None


def index_of(folder: Path) -> dict[str, Any]:
    """The list of a pipeline's components; empty for a folder of one model."""
    path = folder / "model_index.json"
    return read_json(path) if path.is_file() else {}


def listed(index: dict[str, Any], name: str) -> bool:
    """Whether a pipeline has the component: one left out is listed as [null, null]."""
    entry = index.get(name)
    return isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)


def components(folder: Path) -> dict[str, Path]:
    """Folders of the components."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"expected a folder saved by diffusers, {folder} does not exist: nothing is downloaded"
        )
    index = index_of(folder)
    if index:
        names = [name for name in ("unet", "transformer") if listed(index, name)]
        require(bool(names), f"{folder} has no unet or transformer: not a model of images")
        parts = {"network": folder / names[0], "scheduler": folder / "scheduler"}
        for name in DECODERS:
            if listed(index, name):
                parts["vae"] = folder / name
    else:
        read_json(folder / "config.json")
        beside = [folder, folder / "scheduler", folder.parent / "scheduler"]
        found = [p for p in beside if (p / "scheduler_config.json").is_file()]
        if not found:
            raise FileNotFoundError(
                f"expected scheduler/scheduler_config.json in or beside {folder}: it says how the "
                "network was trained"
            )
        parts = {"network": folder, "scheduler": found[0]}
    for name, part in parts.items():
        if not part.is_dir():
            raise FileNotFoundError(f"expected the {name} in {part}: save the whole pipeline")
    return parts


def check_weights(folder: Path, weights: str = WEIGHTS) -> None:
    """Refuse pickles and incomplete downloads before anything is read."""
    index = folder / f"{weights}.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_json(index).get("weight_map", {}).values()))
        missing = [name for name in shards if not (folder / name).is_file()]
        require(
            bool(shards) and not missing,
            f"{folder} is half downloaded, {', '.join(missing) or 'its shards'} missing: copy it "
            "again",
        )
    elif not list(folder.glob("*.safetensors")):
        if list(folder.glob("*.bin")) or list(folder.glob("*.pt")) + list(folder.glob("*.ckpt")):
            raise ValueError(
                f"the weights in {folder} are pickled, which can run any code: save them with "
                "save_pretrained(..., safe_serialization=True)"
            )
        raise FileNotFoundError(f"expected {folder / weights}.safetensors, it does not exist")
