"""Switches off a default of the CPU backend that is slow and sometimes wrong, before JAX starts.

jaxlib from 0.10 on hands convolutions, products and reductions on CPUs to YNNPACK by default.
Convolutions then run at a third to a half of what the cores can do, and a ``vmap`` of a product
followed by a reduction over tens of thousands of rows has returned a wrong last row (jax issue
39103; crashes: 39257, 40412). `prepare` switches these fusions off by ``XLA_FLAGS``, which XLA
reads once, when the first array is made.
"""

from __future__ import annotations

import mmap
import os
import warnings
from functools import cache
from pathlib import Path

import jax
import jaxlib
from jaxlib import version

__all__ = ["FLAG", "is_known", "prepare", "warn_once"]

FLAG = "xla_cpu_experimental_ynn_fusion_type"
LARGE = 16 << 20  # bytes: XLA is in the largest library of jaxlib


@cache
def is_known(flag: str = FLAG) -> bool:
    """Whether the installed jaxlib has an option: XLA ends the process at an unknown one."""
    files = Path(jaxlib.__file__).parent.rglob("*")
    libraries = (path for path in files if path.suffix in (".so", ".pyd", ".dll", ".dylib"))
    return any(_holds(path, flag) for path in libraries if path.stat().st_size > LARGE)


def _holds(path: Path, flag: str) -> bool:
    # As a whole string: an option that XLA no longer takes lives on inside others.
    text = b"\0" + flag.encode() + b"\0"
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ).find(text) >= 0


def _is_set() -> bool:
    return FLAG in os.environ.get("XLA_FLAGS", "")


def prepare() -> None:
    """Append ``--xla_cpu_experimental_ynn_fusion_type=`` to ``XLA_FLAGS``, where the installed
    jaxlib knows it and the user has not set it. Call it before the first array is made; a later
    call changes nothing in this process, only in the processes that it starts."""
    if not _is_set() and is_known():
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --{FLAG}=".strip()


@cache
def warn_once() -> None:
    """RuntimeWarning at the first solve of a process on a CPU with the default left on."""
    if jax.default_backend() == "cpu" and not _is_set() and is_known():
        warnings.warn(
            f"jaxlib {version.__version__} computes slowly, and some of its versions wrongly, on "
            "CPUs by default: call densityguide.xla.prepare() before the first array is made, or "
            f"set XLA_FLAGS=--{FLAG}= ",
            RuntimeWarning,
            stacklevel=2,
        )
