"""Every verb compiles for platforms that are not here: no callbacks, no host calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import densityguide as dg

X64 = False
PLATFORMS = ("cpu", "tpu", "cuda")
OPTIONS = {"steps": 4}


def mixture():
    flow = dg.worlds.mixture([0.4, 0.6], [[1.0, 0.2, -1.0], [-1.0, 0.5, 0.8]], 0.6)
    times = jnp.linspace(-10.0, 8.0, 5)
    return flow.replace(calibration=dg.Calibration(times, -times, jnp.ones(5)))


def following(value):
    return dg.schedule(dg.knots([-10.0, 8.0], [-25.0, value]))


def steady(value):
    return dg.rate(lambda b, x, t: b, value)


GUIDANCES = {
    "none": None,
    "quantile": (dg.quantile, 0.7),
    "calibrated": (dg.calibrated, 0.7),
    "pinned": (dg.pinned, 0.7),
    "budget": (dg.budget, 2.0),
    "rate": (steady, 0.2),
    "schedule": (following, -3.0),
    "target": (dg.target, -3.0),
}


def drawn(guidance=None, **more):
    def verb(flow, x, key, value):
        chosen = None if guidance is None else guidance[0](value)
        return dg.sample(flow, x, guidance=chosen, key=key, **OPTIONS, **more)

    return verb


def adaptive(flow, x, key, value):
    return dg.sample(flow, x, rtol=1e-3, max_steps=64)


VERBS = {f"sample-{name}": drawn(g) for name, g in GUIDANCES.items()} | {
    "sample-estimated": drawn(GUIDANCES["target"], divergence=dg.orthogonal(2)),
    "sample-stratonovich": drawn(GUIDANCES["quantile"], noise=dg.noise.band(-3.0, 9.0, 0.3)),
    "sample-ito": drawn(GUIDANCES["quantile"], noise=dg.noise.constant(0.3, form="ito")),
    "log_density": lambda f, x, k, v: dg.log_density(f, x, **OPTIONS),
    "log_density-estimated": lambda f, x, k, v: dg.log_density(
        f, x, divergence=dg.hutchinson(2), key=k, **OPTIONS
    ),
    "alignment": lambda f, x, k, v: dg.score_alignment(f, x, **OPTIONS),
    "alignment-no-score": lambda f, x, k, v: dg.score_alignment(f, x, use_score=False, **OPTIONS),
    "rescale": lambda f, x, k, v: dg.rescale(f, x, v),
    "sample-adaptive": adaptive,
    "match": lambda f, x, k, v: dg.match_log_density(f, x, -3.0 * v, scan=3, **OPTIONS),
    "sde": lambda f, x, k, v: dg.sample_sde(f, x, k, **OPTIONS),
    "high_density": lambda f, x, k, v: dg.high_density(f, x, switch=v, **OPTIONS),
}


@pytest.mark.parametrize("name", VERBS)
def test_exports_for_every_platform_and_runs_the_same(name):
    """The exported program holds no custom call to Python, and on this machine agrees."""
    flow, x = mixture(), jnp.asarray([0.3, -0.7, 0.4])
    value = (GUIDANCES.get(name.removeprefix("sample-")) or (None, 0.7))[1]
    leaves, tree = jax.tree.flatten(flow)
    key = jax.random.key_data(jax.random.key(0))

    def verb(leaves, x, key, value):
        out = VERBS[name](jax.tree.unflatten(tree, leaves), x, jax.random.wrap_key_data(key), value)
        return jax.tree.leaves(out)

    args = leaves, x, key, jnp.asarray(value)
    exported = export.export(jax.jit(verb), platforms=PLATFORMS)(*args)
    assert "callback" not in exported.mlir_module()
    if name in ("sample-target", "log_density"):
        again = export.deserialize(exported.serialize())
        for a, b in zip(again.call(*args), jax.jit(verb)(*args), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
