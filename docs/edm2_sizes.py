"""Prints the table of sizes in guides/paper.md: weights and operations of EDM2's networks, counted
on shapes alone, and what the jobs of configs/paper ask for."""

import jax
import jax.numpy as jnp

from densityguide.models.build import build, size
from densityguide.models.edm2 import SIZES

SHAPE = (64, 64, 4)
STEPS, SOLVES, PROBES = 64, 2, 2  # log p is measured by a second solve
TANGENT = (1.05, 1.3)  # cost of one, in evaluations: counted in scale.md
# Operations a second of an H100 in float32, 30 to 60 % of its peak.
CHIP = (0.3 * 67e12, 0.6 * 67e12)


def counted(widths):
    """(weights, operations of an evaluation), a multiplication and an addition being two."""
    module = build("edm2", {"widths": widths, "classes": 1000})
    x, t = jnp.zeros(SHAPE), jnp.zeros(())
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), x, t))
    program = jax.jit(module.apply).lower(params, x, t, jnp.zeros((), int))
    return size(params), program.cost_analysis()["flops"]


print("| size | channels | million weights | TFLOP an evaluation | plain | guided, with log p |")
print("| --: | --: | --: | --: | --: | --: |")
for name, widths in SIZES.items():
    weights, once = counted(widths)
    plain = [once * STEPS / speed for speed in reversed(CHIP)]
    work = [once * SOLVES * STEPS * (1 + PROBES * tangent) for tangent in TANGENT]
    guided = [one / speed for one, speed in zip(work, reversed(CHIP), strict=True)]
    facts = f"{widths[0]} to {widths[-1]} | {weights / 1e6:,.0f} | {once / 1e12:.2f}"
    print(
        f"| {name.upper()} | {facts} | "
        f"{plain[0]:.1f} to {plain[1]:.1f} s | {guided[0]:.0f} to {guided[1]:.0f} s |"
    )
