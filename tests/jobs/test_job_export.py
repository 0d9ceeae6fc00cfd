"""The step of every kind of job compiles for platforms that are not here."""

import jax
import numpy as np
import pytest
from jax import export

from densityguide.app.jobs import Alignment, Density, Guidance, Noise, Output, Sampling, Solve
from densityguide.app.jobs.run import PREPARE

PLATFORMS = ("tpu", "cuda")
QUICK, PROBES = Solve(steps=4), Solve(steps=4, divergence="orthogonal")
WORLD, DIGITS = "world:gaussian", "digits8"
BLOCK = Output(shard=2, block=2)
JOBS = {
    "sample": Sampling(WORLD, 2, guidance=Guidance("quantile", (0.6,)), solve=QUICK, output=BLOCK),
    "sample-target": Sampling(
        WORLD, 2, guidance=Guidance("target", (-3.0,)), solve=QUICK, output=BLOCK
    ),
    "sample-noisy": Sampling(WORLD, 2, noise=Noise(0.3), solve=QUICK, output=BLOCK),
    "sample-adaptive": Sampling(WORLD, 2, solve=Solve(rtol=1e-3, atol=1e-3), output=BLOCK),
    "sample-network": Sampling(DIGITS, 2, images=True, solve=PROBES, output=BLOCK),
    "density": Density(DIGITS, DIGITS, count=2, draws=2, solve=PROBES, output=BLOCK),
    "alignment": Alignment(WORLD, 2, solve=QUICK, output=BLOCK),
    "alignment-network": Alignment(DIGITS, 2, solve=PROBES, output=BLOCK),
}


ALWAYS = ("sample", "alignment")


@pytest.mark.parametrize(
    "name", [n if n in ALWAYS else pytest.param(n, marks=pytest.mark.slow) for n in JOBS]
)
def test_step_exports(name):
    """As `parallel` runs it, a block at a time; the weights are arguments, not constants."""
    job = JOBS[name]
    work = PREPARE[type(job)](job, {})
    flow, key = work.shared
    leaves, tree = jax.tree.flatten(flow)

    def step(leaves, key, samples):
        shared = jax.tree.unflatten(tree, leaves), jax.random.wrap_key_data(key)
        return jax.vmap(work.one, (None, *[0] * len(samples)))(shared, *samples)

    samples = work.inputs(np.arange(job.output.block))
    given = leaves, jax.random.key_data(key), samples
    exported = export.export(jax.jit(step), platforms=PLATFORMS)(*given)
    assert "callback" not in exported.mlir_module()
    assert {"status", "evaluations"} <= set(jax.eval_shape(step, *given))
    size = sum(leaf.nbytes for leaf in leaves)
    assert len(exported.mlir_module_serialized) < max(size, 10**6)
