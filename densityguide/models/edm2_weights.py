"""Arrays of a published EDM2 checkpoint, by their names there, as parameters of `EDM2`.

The tables below are the whole translation. **Untried on a published checkpoint**: none was at hand.
They follow the names of the public code's modules, and the tests compare the network with one
written in PyTorch for arrays under these names.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from densityguide.checks import require
from densityguide.disk import files
from densityguide.models import weights
from densityguide.models.edm2 import EDM2

__all__ = ["Converted", "convert", "names", "read"]

# Ours -> theirs. Sides are those of the feature maps: {side} is 64, 32, 16, 8 for levels 0 to 3.
NETWORK = {
    "fourier/frequencies": "unet.emb_fourier.freqs",
    "fourier/phases": "unet.emb_fourier.phases",
    "noise/kernel": "unet.emb_noise.weight",
    "label/kernel": "unet.emb_label.weight",
    "input/kernel": "unet.enc.{side}x{side}_conv.weight",
    "output/kernel": "unet.out_conv.weight",
    "gain": "unet.out_gain",
}
PLACES = {
    "down{level}": "unet.enc.{side}x{side}_down",
    "down{level}_{block}": "unet.enc.{side}x{side}_block{block}",
    "middle{block}": "unet.dec.{side}x{side}_in{block}",
    "up{level}": "unet.dec.{side}x{side}_up",
    "up{level}_{block}": "unet.dec.{side}x{side}_block{block}",
}
BLOCK = {
    "gain": "emb_gain",
    "modulation/kernel": "emb_linear.weight",
    "first/kernel": "conv_res0.weight",
    "second/kernel": "conv_res1.weight",
    "skip/kernel": "conv_skip.weight",
    "attention/qkv/kernel": "attn_qkv.weight",
    "attention/out/kernel": "attn_proj.weight",
}
# The estimate of the loss's uncertainty, which only training asks for.
LEFT_OUT = {"logvar_fourier.freqs", "logvar_fourier.phases", "logvar_linear.weight"}

# Axes of theirs in our order: outputs, inputs, rows, columns -> rows, columns, inputs, outputs.
AXES = {0: (), 1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
SIGMA_DATA = 0.5
EXAMPLE = "unet.enc.64x64_conv.weight"
SIDE = re.compile(r"unet\.enc\.(\d{1,4})x\1_")
EXPECTED = "expected the arrays of a published EDM2 network"
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt")


class Converted(NamedTuple):
    """`fields` of the network in EDM's preconditioning, `shape` of one sample, and `params`."""

    fields: dict[str, Any]
    shape: tuple[int, ...]
    params: Any


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Arrays of a safetensors file by name, as float32.

    FileNotFoundError without it; ValueError, one line, for a pickle and for a damaged file.
    """
    path = files.ordinary(path, "a file of weights")
    with path.open("rb") as stream:
        start = stream.read(9)
    # A safetensors file has a table after eight bytes of length, which may look like anything.
    other = start[8:] != b"{" and start.startswith((b"\x80", b"PK"))
    require(
        not other and path.suffix not in PICKLES,
        f"{path} is a pickle, which can run any code when it is opened: where you trust it and "
        "have the code it came with, save pickle.load(file)['ema'].state_dict() by "
        "safetensors.torch.save_file, and give that file",
    )
    found: dict[str, Any] = weights.names_of(weights.read(path))
    return found


def convert(arrays: Mapping[str, Any], *, head: int = 64) -> Converted:
    """Parameters of the network whose arrays these are; every array is used exactly once, save
    those of `LEFT_OUT`. Untried on a published checkpoint.

    Args:
        arrays: by their published names. The numbers of levels, blocks, channels and classes are
            read off them.
        head: channels a head of attention has, which no array tells; 64 in all published ones.

    Raises:
        ValueError: an array is missing, too many or of another shape, or holds NaN or infinity;
            the line names it.
    """
    module, shape = _network(arrays, head)
    made = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(shape), jnp.zeros(())))
    shapes = {own: leaf.shape for own, leaf in weights.names_of(made["params"]).items()}
    known = names(module, shape[0])
    theirs = {own: known[own] for own in shapes}
    missing = sorted(set(theirs.values()) - set(arrays))
    extra = sorted(set(arrays) - set(theirs.values()) - LEFT_OUT)
    require(not missing, f"{EXPECTED}, {_first(missing)} missing: convert the whole state dict")
    require(not extra, f"{EXPECTED}, {_first(extra)} of no use to it: is it another network?")
    flat = {own: _array(theirs[own], arrays[theirs[own]], shapes[own]) for own in shapes}
    plain = ("widths", "blocks", "attention", "head", "classes")
    fields = {name: getattr(module, name) for name in plain} | {"sigma_data": SIGMA_DATA}
    return Converted(fields, shape, {"params": {"inner": unflatten_dict(flat, sep="/")}})


def names(module: EDM2, side: int) -> dict[str, str]:
    """Published names by our flat ones, for samples of this height; some are of arrays that the
    network may not have."""
    table = {own: theirs.format(side=side) for own, theirs in NETWORK.items()}
    for level, block in itertools.product(range(len(module.widths)), range(module.blocks + 1)):
        # Where a place has no level it is at the last, which comes last.
        at = {"level": level, "block": block, "side": side >> level}
        for (own, theirs), (part, their_part) in itertools.product(PLACES.items(), BLOCK.items()):
            table[f"{own.format(**at)}/{part}"] = f"{theirs.format(**at)}.{their_part}"
    return table


def _network(arrays: Mapping[str, Any], head: int) -> tuple[EDM2, tuple[int, ...]]:
    """The network that arrays of these names and shapes are of, and the shape of its samples."""
    sides = sorted({int(found[1]) for name in arrays if (found := SIDE.match(name))})[::-1]
    require(bool(sides), f"{EXPECTED} ({EXAMPLE}, ...), got {_first(sorted(arrays))} there")
    starts = [f"unet.enc.{side}x{side}_block" for side in sides]

    def has(start: str) -> bool:
        return any(name.startswith(start) for name in arrays)

    def count(name: str, axis: int) -> int:
        require(name in arrays, f"{EXPECTED}, {name} is missing: convert the whole state dict")
        shape = np.shape(arrays[name])
        require(len(shape) in (2, 4), f"expected {name} of 2 or 4 axes, got shape {shape}")
        return int(shape[axis])

    label = "unet.emb_label.weight"
    module = EDM2(
        widths=tuple(count(f"{start}0.conv_res1.weight", 0) for start in starts),
        blocks=next(j for j in itertools.count() if not has(f"{starts[0]}{j}.")),
        attention=tuple(has(f"{start}0.attn_") for start in starts),
        head=head,
        classes=count(label, 1) if label in arrays else 0,
    )
    return module, (sides[0], sides[0], count("unet.out_conv.weight", 0))


def _array(name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
    array = np.asarray(value, np.float32)
    found = array.transpose(AXES[array.ndim]) if array.ndim in AXES else array
    wanted = tuple(shape[i] for i in np.argsort(AXES[len(shape)]))
    require(found.shape == shape, f"expected {name} of shape {wanted}, got {array.shape}")
    require(bool(np.isfinite(found).all()), f"{name} holds NaN or infinity: copy the file again")
    return jnp.asarray(found)


def _first(found: list[str]) -> str:
    """The first name, and how many more there are."""
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{found[0] if found else 'nothing'}{more} {'are' if more else 'is'}"
