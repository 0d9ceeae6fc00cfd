"""Print, as JSON, digests of what `parallel` computes on the given number of simulated devices.

Usage: python devices.py NUMBER; started by test_parallel.py, since devices are counted once a
process.
"""

import hashlib
import json
import os
import sys

number = int(sys.argv[1])
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={number}"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import densityguide as dg  # noqa: E402

assert jax.local_device_count() == number


def world():
    return dg.worlds.mixture([0.6, 0.4], [[-1.0, 0.0, 0.5], [1.5, 0.5, 0.0]], [[0.5], [0.3]])


FLOW = world()


def fixed(flow, key):
    return dg.sample(flow, dg.latent(flow, key), guidance=dg.quantile(0.6), steps=48)


def adaptive(flow, key):
    return dg.sample(flow, dg.latent(flow, key), rtol=1e-3, atol=1e-3)


def density(flow, x):
    return dg.log_density(flow, x, steps=48)


def landed(flow, key):
    return dg.land(flow, dg.latent(flow, key), -3.0, steps=12)


def aligned(flow, key):
    return dg.score_alignment(flow, dg.latent(flow, key), steps=48)


def apart(a, b) -> float:
    """The greatest distance of two arrays, in which infinities of one sign are equal."""
    return float(np.max(np.where(a == b, 0.0, np.abs(a - b))))


def digest(tree) -> str:
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in jax.tree.leaves(tree))).hexdigest()


keys = jax.random.split(jax.random.key(0), 48)
x = np.asarray(jax.random.normal(jax.random.key(1), (48, 3)))
inputs = {fixed: keys, adaptive: keys, density: x, landed: keys, aligned: keys}
report = {}
for fn, given in inputs.items():
    many = dg.parallel.pmap(fn, block=4)
    for count in (7,) if fn is landed else (1, 7, 41):  # the dearest to compile
        out = many(FLOW, given[:count])
        report[f"{fn.__name__} {count}"] = digest(out)
    if number == 1:
        # In float64, where no rounding hides what is not one: error estimates are differences.
        with jax.enable_x64(True):
            flow, few = world(), given[:7]
            many, one = dg.parallel.pmap(fn, block=4)(flow, few), jax.jit(fn)
            loop = [one(flow, few[index]) for index in range(len(few))]
            loop = jax.tree.map(lambda *leaves: np.stack(leaves), *loop)
            pairs = zip(jax.tree.leaves(many), jax.tree.leaves(loop), strict=True)
            report[f"{fn.__name__} is a loop"] = max(map(apart, *zip(*pairs, strict=True)))

# Data-parallel: the mean over a batch, each device its share.
weights = jnp.linspace(-1.0, 1.0, 3)


def step(weights, batch):
    share = 48 // jax.lax.axis_size(dg.parallel.AXIS)
    own = jax.lax.dynamic_slice_in_dim(batch, jax.lax.axis_index(dg.parallel.AXIS) * share, share)
    gradient = jax.grad(lambda w: jnp.sum((own @ w) ** 2) / 48)(weights)
    return weights - 0.1 * jax.lax.psum(gradient, dg.parallel.AXIS)


trained = dg.parallel.together(step)(*dg.parallel.replicate((weights, x[:48])))
report["trained"] = np.asarray(trained).tolist()
print(json.dumps(report))
