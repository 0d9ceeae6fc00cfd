"""Networks, text encoders and tokenizers out of a folder of diffusers: safetensors alone, no code
of the folder, nothing downloaded."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densityguide.checks import require
from densityguide.flow.torch_modules import packages
from densityguide.models.diffusers_folder import WEIGHTS, check_weights

__all__ = ["Engine", "encoder", "engine", "network", "tokenizer", "transformers"]

TEXT_WEIGHTS = "model"
WORDS = ("tokenizer.json", "vocab.json", "spiece.model")
LONGEST = 10**6  # tokens; the library says 10^30 where it knows no limit
EXTRA = 'pip install -e ".[diffusers]", or "densityguide[diffusers]"'


@dataclass(frozen=True)
class Engine:
    """The packages that run PyTorch under JAX."""

    torch: Any
    torchax: Any
    diffusers: Any


@functools.cache
def engine() -> Engine:
    """ValueError, one line, where one is not installed."""
    try:
        import diffusers

        parts = packages()
    except ImportError as error:
        raise ValueError(
            f"models of diffusers need packages that are not installed ({error}): {EXTRA}"
        ) from None
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    return Engine(parts.torch, parts.torchax, diffusers)


@functools.cache
def transformers() -> Any:
    """The package of text encoders; ValueError, one line, where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"a prompt needs a package of text encoders that is not installed ({error}): {EXTRA}"
        ) from None
    package: Any = transformers  # partly typed, where it is installed
    package.utils.logging.set_verbosity_error()
    package.utils.logging.disable_progress_bar()
    return package


def network(kind: str, folder: Path) -> Any:
    """A module of diffusers in float32, in evaluation mode."""
    more = {"torch_dtype": engine().torch.float32, "low_cpu_mem_usage": False}
    return _load(getattr(engine().diffusers, kind), folder, WEIGHTS, more)


def encoder(kind: str, folder: Path) -> Any:
    """A text encoder in float32, in evaluation mode."""
    more = {"dtype": engine().torch.float32}
    return _load(getattr(transformers(), kind), folder, TEXT_WEIGHTS, more)


def tokenizer(kind: str, folder: Path) -> Any:
    """What makes numbers of words."""
    # Without them the library goes on with a vocabulary of nothing.
    if not any((folder / name).is_file() for name in WORDS):
        raise FileNotFoundError(
            f"expected {' or '.join(WORDS)} in {folder}: save the whole pipeline"
        )
    try:
        found = getattr(transformers(), kind).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the library raises what its files make it raise
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"the tokenizer in {folder} is damaged ({words}): copy it anew") from None
    require(
        found.model_max_length < LONGEST or not kind.startswith("CLIP"),
        f"tokenizer_config.json in {folder} names no model_max_length: copy it again",
    )
    return found


@contextlib.contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        words = " ".join(str(error).split())[:200]
        raise ValueError(f"the weights in {folder} are damaged ({words}): copy them anew") from None


def _load(kind: Any, folder: Path, weights: str, more: dict[str, Any]) -> Any:
    check_weights(folder, weights)
    single = folder / f"{weights}.safetensors"
    variants = sorted(folder.glob(f"{weights}.*.safetensors"))
    whole = single.is_file() or (folder / f"{single.name}.index.json").is_file()
    variant = None if whole or not variants else variants[0].name.split(".")[1]
    with _one_line(folder):
        module, found = kind.from_pretrained(
            folder,
            output_loading_info=True,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            **more,
        )
    # torch would go on with whatever its memory holds.
    absent = [*found["missing_keys"], *found["mismatched_keys"]]
    require(
        not absent,
        f"the weights in {folder} do not fit config.json, {len(absent)} of its tensors are missing "
        f"({absent[0] if absent else ''}): copy both again",
    )
    return module.eval()
