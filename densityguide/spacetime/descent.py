"""L-BFGS with exactly one evaluation a step, so that its cost is known before it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

__all__ = ["Descent", "minimise"]

MEMORY = 10  # pairs
ENOUGH = 1e-4  # of the decrease that the slope promises (Armijo)


class Descent(NamedTuple):
    """``z`` [d], the lowest ``value`` seen and that of the start; ``moved``, accepted steps: none
    from a start whose value is not finite."""

    z: Array
    value: Array
    start: Array
    moved: Array


class _State(NamedTuple):
    z: Array
    value: Array
    grad: Array
    direction: Array
    width: Array
    steps: Array  # [m, d] of the latest accepted steps, newest last
    turns: Array  # [m, d] what they changed in the gradient
    rho: Array  # [m] 1 / (step . turn), 0 where there is none
    moved: Array


def _direction(state: _State) -> Array:
    """``-H grad`` by the two loops of Nocedal (1980)."""

    def newest_first(q: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        step, turn, rho = pair
        share = rho * jnp.dot(step, q)
        return q - share * turn, share

    def oldest_first(r: Array, pair: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        step, turn, rho, share = pair
        return r + step * (share - rho * jnp.dot(turn, r)), None

    pairs = state.steps, state.turns, state.rho
    q, shares = lax.scan(newest_first, state.grad, pairs, reverse=True)
    square = jnp.dot(state.turns[-1], state.turns[-1])
    known = state.rho[-1] > 0
    scale = jnp.where(known, 1.0 / jnp.where(known, state.rho[-1] * square, 1.0), 1.0)
    r, _ = lax.scan(oldest_first, scale * q, (*pairs, shares))
    return -r


def minimise(
    value_and_grad: Callable[[Array], tuple[Array, Array]], z: Array, iterations: int
) -> Descent:
    """``iterations`` steps after the start, each one evaluation (Liu and Nocedal, 1989).

    A step that does not lower the value enough, or is not finite, is not taken: the next tries a
    shorter one along the same direction. Under `jax.vmap` all run alike.
    """

    def body(state: _State, _: None) -> tuple[_State, Array]:
        trial = state.z + state.width * state.direction
        value, grad = value_and_grad(trial)
        slope = state.width * jnp.dot(state.direction, state.grad)
        fine = jnp.isfinite(value) & jnp.all(jnp.isfinite(grad))
        taken = fine & (value <= state.value + ENOUGH * slope)
        step, turn = trial - state.z, grad - state.grad
        bends = jnp.dot(step, turn)
        # Directions of negative curvature teach nothing about a minimum.
        learned = taken & (bends > 1e-8 * jnp.linalg.norm(step) * jnp.linalg.norm(turn))
        rho = 1.0 / jnp.where(learned, bends, 1.0)

        def pushed(old: Array, new: Array) -> Array:
            return jnp.where(learned, jnp.concatenate([old[1:], new[None]]), old)

        new = _State(
            z=jnp.where(taken, trial, state.z),
            value=jnp.where(taken, value, state.value),
            grad=jnp.where(taken, grad, state.grad),
            direction=state.direction,
            width=jnp.ones_like(value),
            steps=pushed(state.steps, step),
            turns=pushed(state.turns, turn),
            rho=pushed(state.rho, rho),
            moved=state.moved + taken,
        )
        # The lowest point of the parabola through what is known of this line.
        excess = value - state.value - slope
        shrink = jnp.clip(-0.5 * slope / jnp.where(excess > 0, excess, 1.0), 0.1, 0.5)
        shorter = state.width * jnp.where(fine & (excess > 0), shrink, 0.25)
        direction = jnp.where(taken, _direction(new), state.direction)
        width = jnp.where(taken, 1.0, shorter)
        return new._replace(direction=direction, width=width), value

    memory = min(MEMORY, max(iterations, 1))
    blank = jnp.zeros((memory, z.size), z.dtype)
    still, count = jnp.zeros_like(z), jnp.zeros((), jnp.int32)
    far, one = jnp.full((), jnp.inf, z.dtype), jnp.ones((), z.dtype)
    # The start is a step of width 0 from anywhere.
    first = _State(z, far, still, still, one, blank, blank, blank[:, 0], count)
    last, values = lax.scan(body, first, None, length=iterations + 1)
    return Descent(last.z, last.value, values[0], jnp.maximum(last.moved - 1, 0))
