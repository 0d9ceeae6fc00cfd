"""What the networks of Hugging Face diffusers are told beside their input and time."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from densityguide.checks import concrete, require

__all__ = ["KINDS", "classes_of", "condition_of"]

# What the network calls its input, and its main condition.
KINDS = {
    "UNet2DModel": ("sample", "class_labels"),
    "UNet2DConditionModel": ("sample", "encoder_hidden_states"),
    "DiTTransformer2DModel": ("hidden_states", "class_labels"),
}
LABELS = "class_labels"


def condition_of(kind: str, config: dict[str, Any], condition: Any) -> dict[str, Array] | None:
    """The condition of ONE sample as keyword arguments of the network, or None if it takes none;
    ValueError for a missing one, or a class that is not there."""
    needed = kind != "UNet2DModel" or config.get("class_embed_type") is not None
    needed = needed or config.get("num_class_embeds") is not None
    main = KINDS[kind][1]
    require(
        condition is not None or not needed,
        f"{kind} is conditional: pass condition= ({main} of one sample, or a dict of its keyword "
        "arguments)",
    )
    if condition is None:
        return None
    given = condition if isinstance(condition, dict) else {main: condition}
    given = {
        name: value if isinstance(value, dict) else jnp.asarray(value)
        for name, value in given.items()
    }
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
