"""Operations, bytes and memory of one evaluation of large networks, from the compiler for TPU.

The networks are built without weights: shapes alone are traced, lowered and compiled, on any
machine. Needs diffusers, torch and torchax (the extra ``diffusers``) and libtpu, which compiles for
a TPU that is not there. Writes counts.json beside this file, which `studies.benchmarks.scale`
reads.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1"}

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import densityguide as dg
from densityguide import models
from densityguide.density.probes import rademacher
from densityguide.density.trace import apply
from densityguide.flow.local import evaluate

__all__ = ["FILE"]

FILE = Path(__file__).with_name("counts.json")
TOPOLOGY = "v5e:2x2"
BLOCK = 4
# stabilityai/stable-diffusion-2-1, unet/config.json: 866 M parameters.
STABLE_DIFFUSION = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
# Peebles and Xie (2023), table 1; 256 pixels, classes of ImageNet.
DIT_XL = {"width": 1152, "depth": 28, "heads": 16, "patch": 2, "embedding": 1152, "classes": 1000}


def shaped(shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


class Network(NamedTuple):
    """``flow(params, condition)``, and the shapes of both."""

    flow: Callable[..., dg.Flow]
    params: Any
    condition: Any
    shape: tuple[int, ...]


def shipped(name: str) -> Network:
    """A model that comes with the package."""
    flow = models.load(name)
    params = jax.eval_shape(lambda: flow.params)
    return Network(lambda params, _: flow.replace(params=params), params, None, flow.shape)


def diffusion(
    apply: Callable[..., Any],
    params: Any,
    condition: jax.ShapeDtypeStruct,
    shape: tuple[int, ...],
) -> Network:
    """``apply(params, x, t, condition)`` on one sample, variance preserving."""

    def flow(params: Any, condition: Any) -> dg.Flow:
        return dg.diffusion(
            apply,
            params=params,
            path=dg.paths.variance_preserving(),
            prediction="v",
            log_snr=(-10.0, 10.0),
            shape=shape,
            condition=condition,
        )

    return Network(flow, params, condition, shape)


def stable_diffusion(size: int) -> Network:
    """diffusers' own module on torch's meta device, run by JAX through torchax."""
    import diffusers
    import torch
    import torchax
    from torchax.ops import mappings

    with torch.device("meta"):
        module = diffusers.UNet2DConditionModel(sample_size=size, **STABLE_DIFFUSION).eval()
    params = {
        name: jax.ShapeDtypeStruct(tuple(value.shape), mappings.t2j_dtype(value.dtype))
        for name, value in module.state_dict().items()
    }
    engine = torchax.default_env()

    def network(params: Any, x: Any, t: Any, text: Any) -> Any:
        inputs = jnp.moveaxis(x, -1, 0)[None], t[None], text[None]
        inner, inputs = engine.j2t_iso((params, inputs))
        with engine:
            out = torch.func.functional_call(module, inner, inputs, {"return_dict": False})
        return jnp.moveaxis(engine.t2j_iso(out)[0][0], 0, -1)

    return diffusion(network, params, shaped((77, 1024)), (size, size, 4))


def diffusion_transformer() -> Network:
    """The library's own `models.DiT`."""
    module, shape, label = models.DiT(**DIT_XL), (32, 32, 4), shaped((), jnp.int32)
    params = jax.eval_shape(module.init, jax.random.key(0), shaped(shape), shaped(()), label)
    return diffusion(module.apply, params, label, shape)


NETWORKS = {
    "emoji32": lambda: shipped("emoji32"),
    "DiT-XL/2, 256 px": diffusion_transformer,
    "SD-2.1, 512 px": lambda: stable_diffusion(64),
    "SD-2.1, 768 px": lambda: stable_diffusion(96),
}


def one(network: Network, probes: int) -> Callable[..., Any]:
    """One evaluation as a plain solve does it: the velocity and, with probes, estimates of its
    trace."""
    trace = dg.hutchinson(probes) if probes else None

    def run(params: Any, condition: Any, x: Any, t: Any, key: Any) -> Any:
        local = evaluate(network.flow(params, condition), x, t, tangents=trace is not None)
        if trace is None:
            return local.velocity
        drawn = rademacher(jax.random.wrap_key_data(key), 0, 1, probes, x.shape, x.dtype)
        return local.velocity, apply(lambda v: local.tangent(v)[0], trace, x, drawn)

    return run


def program(network: Network, probes: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """One evaluation of `BLOCK` samples, and the shapes of its arguments."""
    key = shaped((BLOCK, 2), jnp.uint32)
    given = shaped((BLOCK, *network.shape)), shaped((BLOCK,)), key
    fn = jax.vmap(one(network, probes), (None, None, 0, 0, 0))
    return fn, (network.params, network.condition, *given)


def as_written(network: Network, probes: int) -> dict[str, float]:
    """Operations, and bytes of every one of them, before any compiler joined some; seconds."""
    fn, arguments = program(network, probes)
    cost = jax.jit(fn).lower(*arguments).cost_analysis()
    return {"block": BLOCK, "flops": cost["flops"], "bytes_unjoined": cost["bytes accessed"]}


def as_compiled(network: Network, probes: int, device: Any) -> dict[str, float]:
    """Bytes and memory of the program for one chip, with products in float32 as in every solve;
    minutes."""
    fn, arguments = program(network, probes)
    here = SingleDeviceSharding(device)
    with jax.default_matmul_precision("float32"):
        lowered = jax.jit(fn, in_shardings=here, out_shardings=here).lower(*arguments)
    found = lowered.compile()
    cost, memory = found.cost_analysis(), found.memory_analysis()
    parts = (getattr(memory, f"{k}_size_in_bytes") for k in ("argument", "temp", "output"))
    return {"flops_compiled": cost["flops"], "bytes": cost["bytes accessed"], "memory": sum(parts)}


def main() -> None:
    """Count whatever counts.json does not have yet."""
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    networks = {name: make() for name, make in NETWORKS.items()}

    def add(name: str, probes: int, field: str, count: Callable[[], dict[str, float]]) -> None:
        row = known[name]["counts"].setdefault(str(probes), {})
        if field not in row:
            started = time.perf_counter()
            row |= count()
            FILE.write_text(json.dumps(known, indent=1) + "\n")
            print(name, probes, row, f"{time.perf_counter() - started:.0f} s", flush=True)

    for name, network in networks.items():
        size = sum(leaf.size for leaf in jax.tree.leaves(network.params))
        known.setdefault(name, {"parameters": size, "shape": network.shape, "counts": {}})
        for probes in (0, 2):
            add(name, probes, "flops", partial(as_written, network, probes))
    device = topologies.get_topology_desc(TOPOLOGY, platform="tpu").devices[0]
    for name, network in networks.items():
        for probes in (0, 2):
            add(name, probes, "bytes", partial(as_compiled, network, probes, device))


if __name__ == "__main__":
    main()
