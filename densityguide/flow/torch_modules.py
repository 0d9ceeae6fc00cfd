"""Modules of PyTorch as a JAX function and its weights, through torchax."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from densityguide.checks import require

__all__ = ["KEEPS", "copied", "engine", "packages", "reason", "unpack"]

# What an error of the trial call says, and what the module does to provoke it.
STONES = (
    (
        (
            "aten::_local_scalar_dense",
            "ConcretizationTypeError",
            "TracerBoolConversion",
            "__bool__",
        ),
        "its forward makes a Python number or a decision of a tensor (.item(), int(), float(), "
        "if): use tensor operations, torch.where",
    ),
    (
        ("required positional argument",),
        "its forward takes more than x and t: pass the rest as condition= (a class, say)",
    ),
    (
        ("NumPy", "numpy"),
        "its forward leaves torch for NumPy: use torch operations",
    ),
    (
        ("aten::set_",),
        "it has parametrized weights: take them off by "
        "torch.nn.utils.parametrize.remove_parametrizations(layer, name)",
    ),
    (
        ("does not require grad", "requires_grad", "Mixing torch APIs"),
        "its forward differentiates (torch.autograd.grad), which JAX does not follow: hand over "
        "the function inside, and differentiate it by jax.grad",
    ),
)
DRAWS = (
    "its forward draws random numbers (torch.randn_like, a dropout that stays on): the flow needs "
    "a function; pass noise as a condition, or take it out"
)
KEEPS = (
    "its forward keeps a tensor from one call to the next: make it anew in every call, or register "
    "it as a buffer"
)


@dataclass(frozen=True)
class Engine:
    """The two packages."""

    torch: Any
    torchax: Any


def packages() -> Engine:
    """ImportError where one is not installed."""
    import torch
    import torchax

    _mend(torch, torchax)
    return Engine(torch, torchax)


def _mend(torch: Any, torchax: Any) -> None:
    """What torchax does not do as torch does: two functions, and constants among its tensors."""
    from torchax.ops import ops_registry

    env, known = torchax.default_env(), ops_registry.all_torch_functions[torch.as_tensor].func

    def as_tensor(data: Any, dtype: Any = None, **more: Any) -> Any:
        if torch.is_tensor(data):
            return data if dtype is None else data.to(dtype)
        return known(data, dtype=dtype, env=env, **more)

    env.override_op_definition(torch.as_tensor, as_tensor)
    env.override_op_definition(torch.promote_types, _promoted)
    known_iso = env.t2j_iso

    def t2j_iso(values: Any) -> Any:
        def own(x: Any) -> Any:
            if not torch.is_tensor(x) or isinstance(x, (torchax.tensor.Tensor, torchax.view.View)):
                return x
            return env.j2t_iso(jnp.asarray(x.detach().numpy()))

        return known_iso(torch.utils._pytree.tree_map_only(torch.Tensor, own, values))

    env.t2j_iso = t2j_iso


def _promoted(one: Any, other: Any) -> Any:
    """``torch.promote_types``, which torchax takes for an operation on tensors."""
    from torchax.ops import mappings

    return mappings.j2t_dtype(jnp.promote_types(*map(mappings.t2j_dtype, (one, other))))


@functools.cache
def engine() -> Engine:
    """ValueError, one line, where they are not installed."""
    try:
        return packages()
    except ImportError as error:
        raise ValueError(
            "a module of PyTorch is run by JAX through torchax, which is not installed "
            f'({error}): pip install -e ".[torch]", or "densityguide[torch]"'
        ) from None


@dataclass(frozen=True)
class _Torch:
    function: Callable[..., Any]

    def __call__(self, params: Any, *args: Any) -> Any:
        # By this device torchax knows tensors that the module makes for its own.
        torch, env = engine().torch, engine().torchax.default_env()
        before = env.prng_key
        try:
            with torch.device("jax:0"):
                found = self.function(params, args)
            require(env.prng_key is before, f"the module of PyTorch failed: {DRAWS}")
        finally:
            env.prng_key = before  # never a key of the program that was traced
        return found


def unpack(module: Any, params: Any) -> tuple[Callable[..., Any], Any]:
    """``(function, weights)`` of a copy in evaluation mode. The weights [names] are a dict of JAX
    arrays: parameters and buffers.

    Raises:
        ValueError: weights given beside the module's own, or torchax not installed.
    """
    require(
        params is None,
        "the weights come with a module of PyTorch: leave params= out, or change them later by "
        "flow.replace(params=...)",
    )
    module = copied(module)
    _settle(module)
    weights, function = engine().torchax.extract_jax(module)
    return _Torch(function), weights


def copied(module: Any) -> Any:
    """A copy in evaluation mode; ValueError, one line, where torch cannot copy it."""
    try:
        return copy.deepcopy(module).eval()
    except RuntimeError as error:
        raise ValueError(
            f"the module of PyTorch cannot be copied ({str(error).splitlines()[0][:120]}): where "
            "it has torch.nn.utils.weight_norm, take that off by remove_weight_norm"
        ) from error


def _settle(module: Any) -> None:
    """Tensors that a module keeps, but neither as parameters nor as buffers, become buffers; those
    inside an object that it keeps (a covariance, say) constants that JAX can take."""
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if engine().torch.is_tensor(value):
                delattr(part, name)
                part.register_buffer(name, value)
            elif name[0] != "_":
                _settle_object(value)


def _settle_object(value: Any) -> None:
    for name, inner in list(getattr(value, "__dict__", {}).items()):
        if engine().torch.is_tensor(inner):
            found = inner.detach().numpy()
            setattr(value, name, engine().torchax.interop.torch_view(jnp.asarray(found)))


def reason(error: Exception) -> str:
    """Why a trial call failed, where the cause is a known one; else the error's own first line."""
    if str(error).startswith("the module of PyTorch failed: "):
        return str(error).partition(": ")[2]
    words = f"{type(error).__name__}: {error}"
    for marks, advice in STONES:
        if any(mark in words for mark in marks):
            return advice
    return (str(error).strip() or type(error).__name__).splitlines()[0]
