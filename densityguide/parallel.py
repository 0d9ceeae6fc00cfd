"""One program on all devices; the only module that calls ``jax.pmap``. It knows nothing of flows.

Samples travel in *blocks*: ``block`` samples, vectorised by ``vmap``, on one device. Every block
runs the same program in the same shape, so a sample's numbers depend on its own inputs and on the
block size, not on how many devices there are: 1 and 8 devices of one kind agree bit for bit.

For that, each device has a ``pmap`` of its own. One ``pmap`` over several devices goes through
other compiler passes than one over a single device, and its last bits differ; it also makes devices
that finished early wait for those that did not, as adaptive solves would. Training, where devices
have to meet, is one ``pmap`` over all of them (`together`).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from densityguide.checks import count, require

__all__ = ["AXIS", "pmap", "replicate", "stream", "together"]

AXIS = "devices"  # the devices' name for psum and other collectives
BLOCK = 8

Devices = Sequence[jax.Device]


def pmap(
    fn: Callable[..., Any], *, block: int = BLOCK, devices: Devices | None = None
) -> Callable[..., Any]:
    """Turn ``fn(shared, *sample)`` into ``many(shared, *samples)`` over all local devices.

    ``shared`` (a flow, weights) goes to every device once; each further argument is a pytree whose
    leaves carry one leading axis over any number N of samples. The last block is padded by
    repeating the last sample, and the padding is dropped. While devices work, results of earlier
    blocks travel to the host::

        draw = lambda flow, key: dg.sample(flow, dg.latent(flow, key))
        many = dg.parallel.pmap(draw)(flow, jax.random.split(key, 1000))

    Args:
        fn: acts on one sample. Programs are kept per function: pass the same one, not a new lambda.
        block: samples per device and call; raise it until the device is busy. Results are equal
            bit for bit for equal blocks, and to rounding otherwise.
        devices: local devices to use. [all]

    Returns:
        A function giving ``fn``'s pytree as NumPy arrays with a leading axis N.

    Raises:
        ValueError: no samples argument, leaves of different lengths, a block below 1, no device, a
            function that cannot be hashed.
    """
    block = count(block, 1, "block")
    require(
        callable(fn) and _is_hashable(fn),
        f"fn must be a function that can be hashed, got {type(fn).__name__}: programs are kept by "
        "it; pass a plain function, and arrays in its first argument",
    )
    devices = None if devices is None else _local(devices)

    def many(shared: Any, *samples: Any) -> Any:
        total = _length(samples)
        if total == 0:
            one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), samples)
            empty = jax.eval_shape(fn, shared, *one)
            return jax.tree.map(lambda a: np.zeros((0, *a.shape), a.dtype), empty)
        blocks = (_cut(samples, start, block, total) for start in range(0, total, block))
        parts = list(stream(fn, shared, blocks, devices=devices))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:total], *parts)

    return many


def stream(
    fn: Callable[..., Any],
    shared: Any,
    blocks: Iterable[tuple[Any, ...]],
    *,
    devices: Devices | None = None,
) -> Iterator[Any]:
    """``fn(shared, *sample)`` over blocks, each a tuple of pytrees with leading axis ``block``;
    yields one pytree of NumPy arrays per block, in order, while later blocks are worked on.

    Every device has one block running and one waiting. All blocks must have one shape. Their
    buffers are donated, those of ``shared`` are not.
    """
    devices = _local(devices)
    copies = [jax.device_put(shared, device) for device in devices]

    def begin(number: int, block: tuple[Any, ...]) -> Any:
        device, copy = devices[number % len(devices)], copies[number % len(devices)]
        # pmap's axis, of length one.
        placed = jax.device_put(jax.tree.map(lambda a: a[None], block), device)
        out = _program(fn, device)(copy, placed)
        for leaf in jax.tree.leaves(out):
            leaf.copy_to_host_async()
        return out

    numbered = enumerate(blocks)
    running: deque[Any] = deque()
    with ThreadPoolExecutor(len(devices)) as pool, warnings.catch_warnings():
        # A key fits no output; donating it is harmless.
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        # The first call traces; then every other device compiles, all at once.
        for number, block in islice(numbered, 1):
            running.append(begin(number, block))
        rest = islice(numbered, len(devices) - 1)
        running.extend(pool.map(lambda given: begin(*given), rest))
    for number, block in numbered:
        running.append(begin(number, block))
        if len(running) > 2 * len(devices):
            yield _fetch(running.popleft())
    while running:
        yield _fetch(running.popleft())


def together(fn: Callable[..., Any], *, devices: Devices | None = None) -> Callable[..., Any]:
    """``run(state, *rest)``: ``fn(state, *rest)`` on every device of every host at once, as in
    data-parallel training.

    Inside, ``jax.lax.axis_index(AXIS)`` is the device's number and ``jax.lax.psum(..., AXIS)`` adds
    up over devices; every device gets all arguments whole and must return the same. ``state`` is
    donated: go on with what comes back. Place both once with `replicate`.
    """
    devices = jax.devices() if devices is None else _known(devices, "jax.devices()")
    own = sum(device.process_index == jax.process_index() for device in devices)
    program = jax.pmap(
        lambda _, state, rest: fn(state, *rest),
        axis_name=AXIS,
        in_axes=(0, None, None),
        out_axes=None,
        devices=devices,
        donate_argnums=1,
    )
    return lambda state, *rest: program(np.zeros(own, np.int8), state, rest)


def replicate(tree: Any, devices: Devices | None = None) -> Any:
    """The tree with a copy of every array on each device; what is there already is not copied."""
    devices = _local(devices)
    return jax.device_put(tree, NamedSharding(_mesh(devices), PartitionSpec()))


def _local(devices: Devices | None) -> tuple[jax.Device, ...]:
    # Local ones, so that hosts may make unequal numbers of calls.
    return tuple(jax.local_devices()) if devices is None else _known(devices, "jax.local_devices()")


def _known(devices: Devices, all_of_them: str) -> tuple[jax.Device, ...]:
    known = tuple(devices) if isinstance(devices, Iterable) else (devices,)
    require(
        all(isinstance(one, jax.Device) for one in known),
        f"devices must be a list of devices, got {devices!r}: pass {all_of_them}, or some of them",
    )
    require(len(known) > 0, f"devices is empty: pass {all_of_them}")
    return known


def _is_hashable(fn: Any) -> bool:
    try:
        hash(fn)
    except TypeError:  # a frozen dataclass of arrays, say
        return False
    return True


@lru_cache(maxsize=16)
def _mesh(devices: tuple[jax.Device, ...]) -> Mesh:
    return Mesh(np.array(devices), (AXIS,))


@lru_cache(maxsize=64)
def _program(fn: Callable[..., Any], device: jax.Device) -> Callable[..., Any]:
    """The pmapped, vectorised ``fn``: kept, so that calling again does not compile again."""

    def block(shared: Any, samples: tuple[Any, ...]) -> Any:
        return jax.vmap(fn, in_axes=(None, *[0] * len(samples)))(shared, *samples)

    return jax.pmap(block, axis_name=AXIS, in_axes=(None, 0), devices=[device], donate_argnums=1)


def _length(samples: tuple[Any, ...]) -> int:
    """N, common to all leaves."""
    leaves = jax.tree.leaves(samples)
    require(bool(leaves), "expected arrays of samples after the shared argument, got none")
    shapes = [np.shape(leaf) for leaf in leaves]
    require(
        all(shapes) and len({shape[0] for shape in shapes}) == 1,
        f"every array of samples needs the same leading axis, got shapes {shapes}: "
        "what all samples share belongs in the first argument",
    )
    return int(shapes[0][0])


def _cut(samples: tuple[Any, ...], start: int, block: int, total: int) -> tuple[Any, ...]:
    index = np.minimum(np.arange(start, start + block), total - 1)
    return jax.tree.map(lambda a: a[index], samples)


def _fetch(out: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], out)
