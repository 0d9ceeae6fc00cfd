"""What a network is told beside x and t, next to its weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import concrete, count, require

__all__ = ["Bound", "Conditioned", "Mixed", "alike", "check_bound", "check_labels", "classes_of"]
__all__ += ["label_of", "labelled", "labels_fit", "rewired", "same_kind"]


class Conditioned(NamedTuple):
    """Weights, and what the network is told beside x and t: a class, a text embedding, any
    pytree of ONE sample."""

    weights: Any
    condition: Any


class Mixed(NamedTuple):
    """The parts of classifier-free guidance: see `densityguide.classifier_free`."""

    base: Conditioned
    negative: Any
    scale: Array
    interval: tuple[Array, Array]


class Bound(NamedTuple):
    """Weights, with the prior and the clock's ends from which a score was derived: see
    `densityguide.derive_score`."""

    weights: Any
    prior: Any
    start: Array
    stop: Array


def check_bound(params: Any) -> None:
    """ValueError where a score was derived, before what it was derived from is replaced."""
    require(
        not isinstance(params, Bound),
        "the score was derived from this flow's prior and start: replace those first, then "
        "densityguide.derive_score",
    )


def same_kind(one: Any, other: Any) -> bool:
    """Whether two pytrees have the same structure."""
    first, second = jax.tree.structure(one), jax.tree.structure(other)
    return bool(first == second)  # type: ignore[operator]


def rewired(old: Any, weights: Any) -> Any:
    """The params of a flow with other weights: its condition and guidance stay."""
    if isinstance(weights, type(old)) and isinstance(old, (Bound, Conditioned, Mixed)):
        return weights
    if isinstance(old, Bound):
        return old._replace(weights=rewired(old.weights, weights))
    if isinstance(old, Mixed):
        return old._replace(base=rewired(old.base, weights))
    return Conditioned(weights, old.condition) if isinstance(old, Conditioned) else weights


def alike(condition: Any, other: Any, name: str) -> Any:
    """``other`` as arrays in the structure of ``condition`` (the one entry of a dict may be given
    bare); ValueError if it does not fit."""
    if isinstance(condition, dict) and len(condition) == 1 and not isinstance(other, dict):
        other = dict.fromkeys(condition, other)

    def convert(a: Any, b: Any) -> Array:
        a, b = jnp.asarray(a), jnp.asarray(b)
        whole = jnp.issubdtype(a.dtype, jnp.integer)
        if whole and not jnp.issubdtype(b.dtype, jnp.integer):
            raise TypeError
        # A named dtype: a weakly typed number would compile anew.
        return jax.lax.convert_element_type(b, a.dtype)

    try:
        other = jax.tree.map(convert, condition, other)
        fits = jax.tree.map(jnp.shape, condition) == jax.tree.map(jnp.shape, other)
    except (ValueError, TypeError):
        fits = False
    shapes = jax.tree.map(jnp.shape, condition)
    kinds = jax.tree.map(lambda a: str(jnp.asarray(a).dtype), condition)
    require(fits, f"{name} must look like the flow's condition, {kinds} of shape {shapes}")
    return other


def classes_of(classes: int | range | None, condition: Any) -> range | None:
    """The labels that a network knows, as a range: ``10`` is ``range(10)``."""
    if classes is None:
        return None
    known = classes if isinstance(classes, range) else range(count(classes, 1, "classes"))
    require(len(known) > 0 and known.step == 1, f"classes must be a number or a range, got {known}")
    require(
        bool(_labels(condition)),
        "classes= is about a class label: pass condition= with an integer, e.g. condition=0",
    )
    check_labels(known, condition, "condition")
    return known


def check_labels(classes: range | None, condition: Any, name: str) -> None:
    """ValueError for a label outside the classes, where both are known."""
    for label in _labels(condition) if classes is not None else []:
        known = concrete(label)
        if known is None or classes is None:
            continue
        fits = bool(np.all((known >= classes.start) & (known < classes.stop)))
        require(
            fits,
            f"{name} must be a class from {classes.start} to {classes.stop - 1}, got {known}: "
            "there is no other",
        )


def labels_fit(classes: range | None, params: Any) -> Array:
    """Whether every label in a flow's params is one of the classes; True where none are known."""
    params = params.weights if isinstance(params, Bound) else params
    conditions = [params.negative, params.base.condition] if isinstance(params, Mixed) else []
    conditions += [params.condition] if isinstance(params, Conditioned) else []
    fits = jnp.ones((), bool)
    if classes is not None:
        for label in (label for condition in conditions for label in _labels(condition)):
            fits &= jnp.all((label >= classes.start) & (label < classes.stop))
    return fits


def label_of(params: Any) -> Array | None:
    """The class that a network is told: the one whole number in its condition."""
    if isinstance(params, Bound):
        return label_of(params.weights)
    params = params.base if isinstance(params, Mixed) else params
    found = _labels(params.condition) if isinstance(params, Conditioned) else []
    return found[0] if len(found) == 1 and found[0].ndim == 0 else None


def labelled(params: Any, label: Array) -> Any:
    """The params with another class; of classifier-free guidance the one moved towards."""
    if isinstance(params, Bound):
        return params._replace(weights=labelled(params.weights, label))
    if isinstance(params, Mixed):
        return params._replace(base=labelled(params.base, label))

    def told(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        return label.astype(leaf.dtype) if jnp.issubdtype(leaf.dtype, jnp.integer) else leaf

    return params._replace(condition=jax.tree.map(told, params.condition))


def _labels(condition: Any) -> list[Array]:
    """The integer leaves."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(condition)]
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.integer)]
