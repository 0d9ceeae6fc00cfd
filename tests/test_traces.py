"""Sweeping numbers compiles once; jit, vmap and pmap give what eager gives."""

import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import PATHS

import densityguide as dg
from densityguide.density import log_density as likelihood
from densityguide.steer import alignment
from densityguide.steer import sample as sampling

SPELLINGS = (
    float,
    np.float32,
    np.float64,
    np.asarray,
    lambda v: jnp.asarray(v, jnp.float32),
    lambda v: jnp.asarray(v, jnp.float64),
    lambda v: jnp.full((), v),
)


def build(stop=3.0, shift=0.0):
    return dg.worlds.mixture(
        [0.4, 0.6],
        [[1.0 + shift, 0.2], [-1.0, 0.5]],
        0.6,
        path=PATHS["linear"],
        log_snr=(-4.0, stop),
    )


LATENT = np.asarray([0.4, -0.9])


def sweeps():
    """name -> (library's own jit, calls that differ in numbers only)."""
    x, key = jnp.asarray(LATENT), jax.random.key(0)
    flow, draw = build(), sampling.decode

    def sample(**options):
        return lambda: dg.sample(options.pop("flow", flow), x, **({"steps": 6} | options))

    spelled = [spell(v) for v in (0.3, 0.7) for spell in SPELLINGS]
    knots = [dg.grids.uniform(-4.0, 3.0, 6), np.asarray(dg.grids.edm(-4.0, 3.0, 6))]
    knots += [[float(v) for v in knots[0]], knots[1].astype(np.float32)]
    return {
        "quantile": (draw, [sample(guidance=dg.quantile(v)) for v in spelled]),
        "target": (draw, [sample(guidance=dg.target(v)) for v in spelled]),
        "budget and cap": (draw, [sample(guidance=dg.budget(v, cap=v + 1)) for v in spelled]),
        "schedule": (
            draw,
            [sample(guidance=dg.schedule(dg.knots([-4, 3], [-9, -v]), gain=v)) for v in spelled],
        ),
        "noise": (draw, [sample(noise=dg.noise.band(-v, v, v), key=key) for v in spelled]),
        "grid": (draw, [sample(grid=grid, steps=None) for grid in knots]),
        "named grids": (draw, [sample(grid=g) for g in (dg.grids.uniform, dg.grids.cosine)]),
        "interval": (draw, [sample(flow=build(stop=s(v))) for v in (2.0, 3.0) for s in SPELLINGS]),
        "weights": (draw, [sample(flow=build(shift=v)) for v in (0.0, 0.5)]),
        "tolerances": (
            draw,
            [sample(rtol=0.01 * v, atol=0.02, log_density_atol=v, steps=None) for v in spelled],
        ),
        "log_density": (
            likelihood.encoded,
            [
                lambda v=v, s=s: dg.log_density(build(stop=s), x * v, rtol=0.01 * v)
                for v in (0.3, 0.7)
                for s in (2, 3.0, np.float32(2.5))
            ],
        ),
        "alignment": (
            alignment._alignment,
            [
                lambda v=v: dg.score_alignment(flow, x * v, direction=x + v, steps=6)
                for v in (0.3, 0.7)
            ],
        ),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", list(range(12)))
def test_numbers_never_recompile(name):
    label, (compiled, calls) = list(sweeps().items())[name]
    calls[0]()
    before = compiled._cache_size()
    for call in calls:
        call()
    assert compiled._cache_size() == before, label


def test_a_users_jitted_function_traces_once():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def draw(flow, x, q, level, stop, rtol_free_grid):
        flow = flow.replace(interval=(flow.interval[0], stop))
        out = dg.sample(
            flow,
            x,
            guidance=dg.quantile(q),
            noise=dg.noise.constant(level),
            grid=rtol_free_grid,
            key=jax.random.key(0),
        )
        return out.x

    for q, level, stop in ((0.3, 0.1, 3.0), (0.9, 0.2, 2.5)):
        grid = dg.grids.edm(-4.0, stop, 6)
        assert bool(jnp.isfinite(draw(build(), jnp.asarray(LATENT), q, level, stop, grid)).all())


@pytest.mark.slow
def test_jit_and_vmap_are_eager():
    flow, key = build(), jax.random.key(4)
    keys = jax.random.split(key, 5)

    def draw(flow, key):
        out = dg.sample(
            flow,
            dg.latent(flow, key),
            guidance=dg.target(-2.0),
            noise=dg.noise.constant(0.2),
            divergence=dg.hutchinson(2),
            key=key,
            steps=8,
        )
        back = dg.log_density(flow, out.x, steps=8)
        return out, back.value, dg.score_alignment(flow, out.x, steps=8).value

    one_by_one = [draw(flow, k) for k in keys]
    together = jax.jit(jax.vmap(draw, (None, 0)))(flow, keys)
    jitted = jax.jit(draw)
    for i, eager in enumerate(one_by_one):
        mine = jitted(flow, keys[i])
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(eager), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
        mine = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(eager), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


MANY = """
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import densityguide as dg
assert jax.local_device_count() == 8
flow = dg.worlds.mixture([0.4, 0.6], [[1.0, 0.2], [-1.0, 0.5]], 0.6, log_snr=(-4.0, 3.0))
def draw(flow, key):
    out = dg.sample(flow, dg.latent(flow, key), guidance=dg.quantile(0.7), steps=8)
    return out.x, out.log_density
keys = jax.random.split(jax.random.key(1), 8)
one = jax.jit(draw)
many = jax.pmap(draw, in_axes=(None, 0))(flow, keys)
for i in range(8):
    for a, b in zip(one(flow, keys[i]), many):
        np.testing.assert_allclose(a, b[i], rtol=1e-10)
print("same")
"""


@pytest.mark.slow
def test_pmap_over_eight_devices_is_the_same():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", MANY], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("same"), done.stderr[-2000:]
