"""How a user asks for a solve: the same keywords, with the same names, in every verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from jax import Array
from jax.typing import ArrayLike

__all__ = ["Adjoint", "Choices", "Grid"]

Grid: TypeAlias = Callable[[Array, Array, int], Array] | ArrayLike
Adjoint = Literal["reverse", "forward"]


class Choices(NamedTuple):
    """What a verb was told about its solve; see `densityguide.solve.plan` for each of them."""

    steps: int | None = None
    grid: Grid | None = None
    solver: Any = None
    rtol: ArrayLike | None = None
    atol: ArrayLike | None = None
    log_density_atol: ArrayLike | None = None
    max_steps: int | None = None
    adjoint: Adjoint = "reverse"

    @property
    def adaptive(self) -> bool:
        """Whether any tolerance was given."""
        return not (self.rtol is None and self.atol is None and self.log_density_atol is None)
