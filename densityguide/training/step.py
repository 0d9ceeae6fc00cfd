"""One step of training, a pure function.

Batch, noise and dequantisation of a step are functions of (seed, step) only, so a run that is
killed and resumed ends with the same bits as one that is not.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from densityguide import data
from densityguide.models.build import build, initialise
from densityguide.training.config import Config
from densityguide.training.importance import Adapted, fresh
from densityguide.training.loss import draws_of, levels, weighted_errors
from densityguide.training.optimiser import moving_average, optimiser

__all__ = ["TrainState", "begun_from", "flipped", "indices", "initial_state", "update"]


class TrainState(NamedTuple):
    """Everything a step changes; `histogram` is empty unless the proposal learns, `profiles` holds
    the averages of further decays."""

    step: jax.Array
    params: Any
    ema: Any
    moments: Any
    histogram: Any = ()
    profiles: Any = ()


@partial(jax.jit, static_argnums=(0, 1))
def initial_state(config: Config, shape: tuple[int, ...]) -> TrainState:
    """Step 0, from the seed."""
    module = build(config.model.kind, config.model.fields)
    params = initialise(module, jax.random.fold_in(jax.random.key(config.seed), 0), shape)
    copy = jax.tree.map(jnp.copy, params)
    moments = optimiser(config.optimiser).init(params)
    histogram = fresh() if config.loss.adapt else ()
    profiles = tuple(jax.tree.map(jnp.copy, params) for _ in config.optimiser.profiles)
    return TrainState(jnp.zeros((), jnp.int32), params, copy, moments, histogram, profiles)


def begun_from(state: TrainState, weights: Any) -> TrainState:
    """Step 0 with these weights in place of fresh ones; ValueError for those of another network."""

    def shapes(tree: Any) -> Any:
        return jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)]

    if shapes(weights) != shapes(state.params):
        raise ValueError(
            "expected in start the weights of the network in [model], got those of another: "
            "change either"
        )
    params, ema, *profiles = (
        jax.tree.map(jnp.array, weights) for _ in range(2 + len(state.profiles))
    )
    return state._replace(params=params, ema=ema, profiles=tuple(profiles))


def flipped(images: jax.Array, key: jax.Array) -> jax.Array:
    """Images [B, H, W, C], each mirrored left to right with probability 1/2."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


@partial(jax.jit, static_argnums=(0, 1))
def _permutation(count: int, seed: int, epoch: jax.Array) -> jax.Array:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), epoch)
    return jax.random.permutation(key, count)


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.asarray(_permutation(count, seed, epoch))


def indices(count: int, seed: int, step: int, batch: int) -> np.ndarray:
    """Which of `count` samples make the batch of a step: every epoch is a fresh permutation of
    (seed, epoch)."""
    epoch, place = divmod(step, max(count // batch, 1))
    return _order(count, seed, epoch)[(place * batch + np.arange(batch)) % count]


def _share(tree: Any, axis: str) -> Any:
    """The samples of this device: equal parts, in the order of the devices."""
    number, place = jax.lax.axis_size(axis), jax.lax.axis_index(axis)

    def own(a: jax.Array) -> jax.Array:
        size = a.shape[0] // number
        return jax.lax.dynamic_slice_in_dim(a, place * size, size)

    return jax.tree.map(own, tree)


def update(
    config: Config,
    grey: int,
    state: TrainState,
    images: jax.Array,
    labels: jax.Array | None = None,
    *,
    axis: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One optimiser step on a batch: integers with `grey` levels, or points if it is 0; with their
    labels, for a network with classes.

    Over several devices, each of which is given the whole batch, `axis` names them: every device
    draws the same noise for all samples, which is cheap, takes its share of them through the
    network, and adds its part to the gradient.
    """
    module = build(config.model.kind, config.model.fields)
    step, settings = state.step, config.optimiser
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 2), step)
    key_data, key_loss = jax.random.split(key)
    x0 = data.Dequantise(grey)(images, key_data) if grey else images
    if config.flips:
        x0 = flipped(x0, jax.random.fold_in(key, 2))
    histogram = state.histogram or None
    draws = draws_of(key_loss, x0, config.loss, labels, histogram)

    own_x0, own_draws = (x0, draws) if axis is None else _share((x0, draws), axis)

    def objective(params: Any) -> tuple[jax.Array, jax.Array]:
        losses = weighted_errors(module.apply, params, own_x0, own_draws, config.loss)
        return jnp.mean(losses), losses

    (loss, losses), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
    if axis is not None:
        loss, gradient = jax.lax.pmean((loss, gradient), axis)
        losses = jax.lax.all_gather(losses, axis, tiled=True)
    change, moments = optimiser(settings).update(gradient, state.moments, state.params)
    params = optax.apply_updates(state.params, change)
    ema = moving_average(state.ema, params, step, settings.ema)
    profiles = tuple(
        moving_average(average, params, step, decay)
        for average, decay in zip(state.profiles, settings.profiles, strict=True)
    )
    proposal, _ = levels(config.loss, histogram)
    if isinstance(proposal, Adapted):
        histogram = proposal.learn(draws.log_snr, losses)
    metrics = {"loss": loss, "gradient": optax.tree.norm(gradient)}
    state = TrainState(step + 1, params, ema, moments, histogram or (), profiles)
    return state, metrics
