"""What a flow asks of the data transform that is declared with it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from densityguide.checks import require

__all__ = ["check_transform"]


def check_transform(transform: Any, size: int) -> Any:
    """The data transform itself; ValueError unless it is None, or called as ``(x, key)`` with the
    nats of its Jacobian from ``log_jacobian(size)``."""
    if transform is None:
        return None
    message = (
        "the flow's transform must be callable as (x, key) and have log_jacobian(D): use "
        "densityguide.data.transforms.Dequantise"
    )
    require(
        callable(transform)
        and not isinstance(transform, type)
        and callable(getattr(transform, "log_jacobian", None)),
        message,
    )
    nats = transform.log_jacobian(size)
    require(
        jnp.shape(nats) == (),
        f"transform.log_jacobian(D) must return one number of nats, got shape {jnp.shape(nats)}",
    )
    return transform
