"""What sampling will cost: counted by the compiler, timed on a short solve, before the long one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from densityguide.checks import count, verb_but
from densityguide.density.streams import Auto
from densityguide.density.trace import Trace
from densityguide.flow.flow import Flow, require_flow
from densityguide.flow.local import evaluate
from densityguide.solve import Grid
from densityguide.steer import sample as sampling
from densityguide.steer.guidance import Guidance
from densityguide.steer.noise import Noise

__all__ = ["Cost", "cost"]

SHORT, SHORTEST = 4, 1  # steps of the timed solve; the latter where one evaluation takes long
MANY = 256  # tangents of an evaluation from which on it does
ADAPTIVE = "how many steps an adaptive solve takes is known only after it: pass steps="
PATIENCE, RUNS = 4.0, 20  # seconds of timing and most runs; at least one


class Cost(NamedTuple):
    """What `cost` found. ``evaluations``, ``tangents`` and the three ``flops`` are of one sample,
    ``memory`` and ``seconds`` of one call with ``batch`` of them."""

    evaluations: int  # forward passes
    tangents: int  # derivatives pushed through the network
    flops_evaluation: float  # one forward pass
    flops_tangent: float  # one tangent more
    flops: float  # a whole sample: the evaluations times theirs and the tangents times theirs
    memory: int  # bytes of the timed program: weights, results and everything in between
    batch: int
    seconds: float  # projected, compilation apart
    compile_seconds: float  # tracing the timed program and compiling it, or finding it in the cache


@verb_but(rtol=ADAPTIVE, atol=ADAPTIVE, log_density_atol=ADAPTIVE, max_steps=ADAPTIVE)
def cost(
    flow: Flow,
    *,
    guidance: Guidance | None = None,
    noise: Noise | None = None,
    divergence: Trace | Auto | None = "auto",
    tracking: Trace | Auto | None = "auto",
    steering: Trace | Auto = "auto",
    measure: bool = True,
    batch: int = 1,
    steps: int | None = None,
    grid: Grid | None = None,
    solver: Any = None,
) -> Cost:
    """What ``sample`` with the same arguments will cost, for ``batch`` samples in one jitted
    ``vmap`` call. `log_density` costs as much as `sample` without guidance.

    Evaluations and tangents are those the result will report. Floating-point operations of one
    forward pass and of one tangent come from the compiler, taken outside the solve because it
    counts a loop's body once, and does so with a loop inside the network. Seconds are those of a
    solve of a few steps, in proportion to its operations: as good as the machine is steady, and too
    high where a forward pass takes less than about a millisecond.

    Raises:
        ValueError: what `sample` would raise. There are no tolerances here: how many steps an
            adaptive solve takes is known only after it.
    """
    require_flow(flow, "cost")
    batch = count(batch, 1, "batch")
    forward, tangent = _flops(flow)

    def program(steps: int | None, grid: Grid | None) -> Callable[..., sampling.Sample]:
        def one(flow: Flow, guidance: Guidance | None, noise: Noise | None, key: Array) -> Any:
            return sampling.draw(
                flow,
                key,
                guidance=guidance,
                noise=noise,
                divergence=divergence,
                tracking=tracking,
                steering=steering,
                measure=measure,
                steps=steps,
                grid=grid,
                solver=solver,
            )

        return jax.vmap(one, in_axes=(None, None, None, 0))

    arguments = (flow, guidance, noise, jax.random.split(jax.random.key(0), batch))
    evaluations, tangents = _counts(program(steps, grid), arguments)
    each = tangents // max(evaluations, 1)
    short = SHORT if each <= MANY else SHORTEST
    started = time.perf_counter()
    compiled = jax.jit(program(short, None)).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - started
    seconds, out = _timed(compiled, arguments)

    def work(evaluations: int, tangents: int) -> float:
        return evaluations * forward + tangents * tangent

    total = work(evaluations, tangents)
    share = total / work(int(out.evaluations[0]), int(out.tangents[0]))
    return Cost(
        evaluations=evaluations,
        tangents=tangents,
        flops_evaluation=forward,
        flops_tangent=tangent,
        flops=total,
        memory=_memory(compiled),
        batch=batch,
        seconds=seconds * share,
        compile_seconds=compile_seconds,
    )


def _flops(flow: Flow) -> tuple[float, float]:
    """Operations of one forward pass, and of one tangent beside it."""

    def forward(flow: Flow, x: Array, t: Array) -> Any:
        return evaluate(flow, x, t)[:2]

    def both(flow: Flow, x: Array, t: Array, tangent: Array) -> Any:
        local = evaluate(flow, x, t, tangents=True)
        return local[:2], local.tangent(tangent)

    real = jnp.result_type(float)
    x, t = jax.ShapeDtypeStruct(flow.shape, real), jax.ShapeDtypeStruct((), real)
    programs = jax.jit(forward).lower(flow, x, t), jax.jit(both).lower(flow, x, t, x)
    counts = [program.compile().cost_analysis() for program in programs]
    # A network that the compiler cannot count, or counts as free, still costs something.
    first, second = (max((found or {}).get("flops", 1.0), 1.0) for found in counts)
    return first, max(second - first, 1.0)


def _counts(program: Callable[..., sampling.Sample], arguments: tuple[Any, ...]) -> tuple[int, int]:
    """Evaluations and tangents of one sample. On a fixed grid they do not depend on the network,
    and the compiler removes it."""

    def counters(*arguments: Any) -> tuple[Array, Array]:
        out = program(*arguments)
        return out.evaluations[0], out.tangents[0]

    evaluations, tangents = jax.jit(counters)(*arguments)
    return int(evaluations), int(tangents)


def _timed(compiled: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[float, Any]:
    """Seconds of a call, a lower quartile, and what it returned: the first ones are slow, a long
    run is like the better ones."""
    started = time.perf_counter()
    seconds: list[float] = []
    while not seconds or (
        len(seconds) < RUNS and time.perf_counter() - started + min(seconds) < PATIENCE
    ):
        clock = time.perf_counter()
        out = jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - clock)
    return float(np.percentile(seconds, 25)), out


def _memory(compiled: Any) -> int:
    found = compiled.memory_analysis()
    if found is None:
        return 0
    kinds = ("argument", "output", "temp", "generated_code")
    return sum(int(getattr(found, f"{kind}_size_in_bytes")) for kind in kinds)
