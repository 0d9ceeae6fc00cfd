"""The sampling run: one compiled program for every row, called once per block of latents."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from densityguide import guidance, sampling, solve
from densityguide.divergence import Trace, exact, orthogonal
from densityguide.flows import Flow

__all__ = ["Compiled", "Settings", "choose_trace", "compile_row"]
__all__ += ["default_steps", "draw_row", "sample_keys", "trace_name"]

BLOCK = 8  # latents per call: enough for two cores, small enough for a smooth progress bar


class Settings(NamedTuple):
    """What the user asked for, checked."""

    q: tuple[float, ...]
    count: int
    seed: int
    steps: int
    solver: Any

    @property
    def block(self) -> int:
        """Latents per call of the compiled program."""
        return min(self.count, BLOCK)

    @property
    def blocks(self) -> int:
        """Calls of the compiled program for one q."""
        return ceil(self.count / self.block)

    def record(self) -> dict[str, Any]:
        """The settings for a report."""
        return self._asdict() | {"q": list(self.q), "solver": solve.solver_name(self.solver)}


class Compiled(NamedTuple):
    """The program of one block, and how long tracing and compiling took."""

    program: Callable[[Flow, jax.Array, jax.Array], sampling.Sample]
    trace_seconds: float
    compile_seconds: float


def default_steps(solver: Any, evaluations: int) -> int:
    """As many steps as the evaluations allow, one of them kept for the start."""
    return max(1, (evaluations - 1) // solve.Method(solver, False, 0).stages)


def choose_trace(flow: Flow) -> Trace:
    """Exact where that is cheap, else two replicate streams of probes."""
    return exact() if flow.is_small else orthogonal(2)


def trace_name(trace: Trace) -> str:
    """For people and reports."""
    return "exact" if trace.is_exact else f"orthogonal, {trace.probes} probes"


def sample_keys(seed: int, start: int, stop: int) -> jax.Array:
    """Keys of the samples start .. stop - 1: each depends on the seed and its own index only."""
    indices = jnp.arange(start, stop, dtype=jnp.uint32)
    return jax.vmap(lambda index: jax.random.fold_in(jax.random.key(seed), index))(indices)


def compile_row(flow: Flow, settings: Settings, trace: Trace) -> Compiled:
    """Trace and compile one block; weights, q and keys stay arguments."""

    def one(flow: Flow, q: jax.Array, key: jax.Array) -> sampling.Sample:
        # The same key in every row: rows differ by q alone, down to the probes.
        key_latent, key_solve = jax.random.split(key)
        return sampling.sample(
            flow,
            sampling.latent(flow, key_latent),
            guidance=guidance.quantile(q),
            divergence=trace,
            key=key_solve,
            steps=settings.steps,
            solver=settings.solver,
        )

    block = jax.jit(jax.vmap(one, in_axes=(None, None, 0)))
    start = time.perf_counter()
    keys = jax.eval_shape(lambda: sample_keys(settings.seed, 0, settings.block))
    lowered = block.lower(flow, jax.ShapeDtypeStruct((), jnp.result_type(float)), keys)
    traced = time.perf_counter()
    program = lowered.compile()
    return Compiled(program, traced - start, time.perf_counter() - traced)


def draw_row(
    compiled: Compiled, flow: Flow, settings: Settings, q: float, tick: Callable[[], None]
) -> sampling.Sample:
    """``settings.count`` samples at one ``q``, as NumPy arrays with a leading axis; ``tick()``
    after every block."""
    blocks = []
    for index in range(settings.blocks):
        first = index * settings.block
        keys = sample_keys(settings.seed, first, first + settings.block)
        out = compiled.program(flow, jnp.asarray(q, jnp.result_type(float)), keys)
        blocks.append(jax.tree.map(np.asarray, out))
        tick()
    # The last block may be longer than asked for: one compiled shape serves all.
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: settings.count], *blocks)
