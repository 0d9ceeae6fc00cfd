"""What the networks of Hugging Face diffusers are told beside their input and time."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.checks import concrete, require
from densityguide.models.diffusers_network import PACKED

__all__ = ["KINDS", "Kind", "channels_of", "classes_of", "condition_of", "size_of"]

LABELS, TEXT = "class_labels", "encoder_hidden_states"


class Kind(NamedTuple):
    """What a network calls its input and its main condition; whether it is told the scheduler's
    steps (and else sigma itself); the side of its latents where its config names none."""

    input: str
    main: str
    steps: bool = True
    side: int | None = None


KINDS = {
    "UNet2DModel": Kind("sample", LABELS),
    "UNet2DConditionModel": Kind("sample", TEXT),
    "DiTTransformer2DModel": Kind("hidden_states", LABELS),
    "PixArtTransformer2DModel": Kind("hidden_states", TEXT),
    "SD3Transformer2DModel": Kind("hidden_states", TEXT),
    PACKED: Kind("hidden_states", TEXT, steps=False, side=128),
}


def channels_of(kind: str, config: dict[str, Any], folder: Any) -> int:
    """Channels of one sample."""
    channels: Any = config.get("in_channels")
    require(isinstance(channels, int), f"{folder} names no in_channels: copy it again")
    return int(channels) // 4 if kind == PACKED else int(channels)


def size_of(kind: str, config: dict[str, Any], shape: Any, folder: Any) -> tuple[int, int]:
    """(H, W) of one sample: ``shape`` if it is given, else what the config says."""
    size: Any = shape or config.get("sample_size") or KINDS[kind].side
    require(size is not None, f"{folder} names no sample size: pass shape=(H, W)")
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    require(
        kind != PACKED or not (height % 2 or width % 2),
        f"{kind} takes patches of 2 x 2: shape must be even, got {(height, width)}",
    )
    return height, width


def condition_of(kind: str, config: dict[str, Any], condition: Any) -> dict[str, Array] | None:
    """The condition of ONE sample as keyword arguments of the network, or None if it takes none;
    ValueError for a missing one, or a class that is not there."""
    needed = kind != "UNet2DModel" or config.get("class_embed_type") is not None
    needed = needed or config.get("num_class_embeds") is not None
    main = KINDS[kind].main
    require(
        condition is not None or not needed,
        f"{kind} is conditional: pass condition= ({main} of one sample, or a dict of its keyword "
        "arguments)"
        + (", or prompt= with the text encoders of a pipeline" if main == TEXT else ""),
    )
    if condition is None:
        return None
    given = condition if isinstance(condition, dict) else {main: condition}
    given = {name: jax.tree.map(jnp.asarray, value) for name, value in given.items()}
    classes, label = _rows(config), concrete(given.get(LABELS, 0))
    require(
        label is None or not classes or bool(((label >= 0) & (label < classes)).all()),
        f"class_labels must lie in 0 .. {classes - 1}, got {label}",
    )
    return given


def classes_of(config: dict[str, Any], condition: dict[str, Array] | None) -> range | None:
    """The classes, where a class is all that the network is told."""
    alone = condition is not None and condition.keys() == {LABELS}
    classes = _rows(config)
    whole = condition is not None and alone and jnp.issubdtype(condition[LABELS].dtype, jnp.integer)
    return range(classes) if classes and whole else None


def _rows(config: dict[str, Any]) -> int:
    """Rows of the table of classes; DiT's has one more, for none."""
    return int(config.get("num_class_embeds") or (config.get("num_embeds_ada_norm") or -1) + 1)
