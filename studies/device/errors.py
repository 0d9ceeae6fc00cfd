"""What precision costs: log p in each against float64 on the CPU, and bits from run to run."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from densityguide.density.trace import Trace
from studies.device import subjects
from studies.device.speed import precisions

__all__ = ["repeatable", "rows", "signs"]


def signs(
    key: Any, index: Any, cycle: int, probes: int, shape: tuple[int, ...], dtype: Any
) -> jax.Array:
    """Probes of random bits, which are the same in every precision."""
    bits = jax.random.bits(jax.random.fold_in(key, index), (probes, *shape), "uint32")
    return jnp.where(bits & 1, 1, -1).astype(dtype)


def encode(flow: dg.Flow, x: jax.Array, key: jax.Array, *, steps: int) -> jax.Array:
    """Log p with the same probes in every precision."""
    trace = Trace(signs, 2)
    return dg.log_density(flow, x, divergence=trace, key=key, steps=steps).value


def rows(name: str, count: int, steps: int) -> list[dict[str, Any]]:
    """Root mean square error of log p, in nats and bits/dim, for each precision of products."""
    flow = dg.models.load(name)
    keys = jax.random.split(jax.random.key(2), (2, count))

    def plain(flow: dg.Flow, key: jax.Array) -> jax.Array:
        return dg.sample(flow, dg.latent(flow, key), divergence=None, steps=steps).x

    x = np.asarray(jax.jit(jax.vmap(plain, in_axes=(None, 0)))(flow, keys[0]))

    def values(flow: dg.Flow, x: Any) -> np.ndarray:
        run = jax.jit(lambda *of: jax.vmap(lambda x, k: encode(of[0], x, k, steps=steps))(*of[1:]))
        return np.asarray(run(flow, jnp.asarray(x), keys[1]), np.float64)

    with jax.default_device(jax.devices("cpu")[0]), jax.enable_x64(True):
        exact = values(_double(flow), np.asarray(x, np.float64))
    found = []
    for words, precision in precisions().items():
        with jax.default_matmul_precision(precision):
            off = np.sqrt(np.mean((values(flow, x) - exact) ** 2))
        found.append(
            {
                "network": name,
                "precision": words,
                "RMS nats": float(off),
                "RMS bits/dim": float(off / (flow.size * np.log(2.0))),
                "log p, mean": float(exact.mean()),
            }
        )
    return found


def _double(flow: dg.Flow) -> dg.Flow:
    def wide(a: Any) -> Any:
        a = np.asarray(a) if isinstance(a, jax.Array) and not _is_key(a) else a
        return jnp.asarray(a, jnp.float64) if getattr(a, "dtype", None) == np.float32 else a

    return jax.tree.map(wide, flow)


def _is_key(a: jax.Array) -> bool:
    return bool(jnp.issubdtype(a.dtype, jax.dtypes.prng_key))


def repeatable(name: str, batch: int, steps: int) -> dict[str, Any]:
    """Whether the same program gives the same bits again, and a sample the same bits elsewhere in
    its batch."""
    flow = subjects.load(name)
    keys = jax.random.split(jax.random.key(3), batch)

    def one(flow: dg.Flow, key: jax.Array) -> Any:
        trace = dg.orthogonal(2)
        out = dg.sample(flow, dg.latent(flow, key), divergence=trace, key=key, steps=steps)
        return out.x, out.log_density

    run = jax.jit(jax.vmap(one, in_axes=(None, 0)))
    first, second, turned = (run(flow, k) for k in (keys, keys, jnp.roll(keys, 1)))
    back = jax.tree.map(lambda a: jnp.roll(a, -1, axis=0), turned)
    return {
        "network": name,
        "run again": _equal(first, second),
        "elsewhere in the batch": _equal(first, back),
    }


def _equal(one: Any, two: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
