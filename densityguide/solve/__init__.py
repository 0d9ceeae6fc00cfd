"""The only package that uses diffrax: one vector field, one initial state, one compiled solve.

`plan` checks the options and splits them into what is compiled (`Method`) and what is traced
(`Numbers`); `solve` runs them, over a fixed grid or to a tolerance. Failures are values (`Status`),
never exceptions inside a batch.
"""

from densityguide.solve.choices import Adjoint, Choices, Grid
from densityguide.solve.ladder import climb, ladder, within
from densityguide.solve.method import Method, Numbers, backwards, ends
from densityguide.solve.options import DEFAULT_STEPS, plan
from densityguide.solve.result import Solved, Status, failed
from densityguide.solve.solvers import default_solver, solver_name, solver_named
from densityguide.solve.stepping import solve

__all__ = [
    "DEFAULT_STEPS",
    "Adjoint",
    "Choices",
    "Grid",
    "Method",
    "Numbers",
    "Solved",
    "Status",
    "backwards",
    "climb",
    "default_solver",
    "ends",
    "failed",
    "ladder",
    "plan",
    "solve",
    "solver_name",
    "solver_named",
    "within",
]
