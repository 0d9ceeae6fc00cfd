"""Modules of flax, equinox and PyTorch as a function and its weights.

The weights become an argument, so that training or averaging them never recompiles; the rest of
a module is static and compared by value. A module is copied and put into evaluation mode: the
user's own is left alone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from densityguide.checks import require
from densityguide.flow import torch_modules

__all__ = ["Framework", "framework_of", "unpack"]


def unpack(network: Any, params: Any, name: str = "apply") -> tuple[Callable[..., Any], Any]:
    """``(function, params)`` of a plain function, or a module of flax, equinox or PyTorch.

    ``params`` is given for functions and linen modules, and comes with the others; ``name`` is for
    messages.

    Raises:
        ValueError: params missing or given twice, or something that cannot be called.
    """
    require(
        not isinstance(network, type),
        f"{name} must be a function or a module, got the class {network!r}: make an instance of it",
    )
    framework = framework_of(network)
    if framework is None:
        require(callable(network), f"{name} must be a function (params, x, t), got {network!r}")
        return network, params
    return framework.unpack(network, params)


class Framework(NamedTuple):
    """A framework of modules: its name, where its ``Module`` lives, and how to take one apart."""

    name: str
    home: str
    unpack: Callable[[Any, Any], tuple[Callable[..., Any], Any]]
    guessed: bool = False  # whether its networks take batches and channels first as a rule


def framework_of(network: Any) -> Framework | None:
    """The framework of a module, told by where its class is defined, so that a framework that is
    not used is never imported."""
    for base in type(network).__mro__:
        for framework in FRAMEWORKS:
            home = f"{base.__module__}.".startswith(f"{framework.home}.")
            if home and base.__name__ == "Module":
                return framework
    return None


def _no_params(params: Any, framework: str) -> None:
    require(
        params is None,
        f"the weights come with a module of {framework}: leave params= out, or change them later "
        "by flow.replace(params=...)",
    )


def _linen(module: Any, params: Any) -> tuple[Callable[..., Any], Any]:
    require(
        params is not None,
        f"a linen module keeps no weights: pass params={type(module).__name__}(...).init(...)",
    )
    return _Linen(module), params


@dataclass(frozen=True)
class _Linen:
    module: Any  # modules with equal fields are equal; their bound methods are not

    def __call__(self, params: Any, *args: Any) -> Any:
        return self.module.apply(params, *args)


@dataclass(frozen=True)
class _Nnx:
    graph: Any
    # Random streams are not weights: a module in evaluation mode does not use them.
    streams: Any = field(compare=False)

    def __call__(self, params: Any, *args: Any) -> Any:
        from flax import nnx

        # Without the copy the merged module would alias the caller's arrays.
        module = nnx.merge(self.graph, params, self.streams, copy=True)
        before = jax.tree.leaves(nnx.state(module))
        out = module(*args)
        after = jax.tree.leaves(nnx.state(module))
        same = len(before) == len(after) and all(map(operator.is_, before, after))
        require(
            same,
            f"{type(module).__name__} changes its own state when called, which a vector field must "
            "not: switch off running statistics and random streams (module.eval())",
        )
        return out


def _nnx(module: Any, params: Any) -> tuple[Callable[..., Any], Any]:
    _no_params(params, "nnx")
    from flax import nnx

    module = nnx.clone(module)
    module.eval()  # dropout off, stored statistics used
    parts: Any = nnx.split(module, nnx.Not(nnx.RngState), nnx.RngState)
    graph, state, streams = parts
    return _Nnx(graph, streams), state


@dataclass(frozen=True)
class _Equinox:
    static: Any

    def __call__(self, params: Any, *args: Any) -> Any:
        import equinox

        return equinox.combine(params, self.static)(*args)


def _equinox(module: Any, params: Any) -> tuple[Callable[..., Any], Any]:
    _no_params(params, "equinox")
    import equinox

    params, static = equinox.partition(equinox.nn.inference_mode(module), equinox.is_array)
    return _Equinox(static), params


def _torch(module: Any, params: Any) -> tuple[Callable[..., Any], Any]:
    return torch_modules.unpack(module, params)


FRAMEWORKS = (
    Framework("linen", "flax.linen", _linen),
    Framework("nnx", "flax.nnx", _nnx),
    Framework("equinox", "equinox", _equinox),
    Framework("torch", "torch.nn", _torch, guessed=True),
)
