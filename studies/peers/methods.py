"""Two methods that exist as repositories only, written anew from their papers: not their code.

*score SDE*: the neural ODE of Song et al. (ICLR 2021) by SciPy's RK45 with one Hutchinson probe
that is kept, at tolerances of 1e-5. *Euler*: constant steps in log-SNR with one probe, as the
density-guidance papers take them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from studies.peers.by_torch import normal
from studies.peers.entrant import Entrant, Run, words
from studies.peers.subjects import Subject

__all__ = ["EULER", "SCORE_SDE"]


def rates(field: Any, x: Tensor, t: float, probe: Tensor) -> tuple[Tensor, Tensor]:
    """Velocity and one probe's estimate of its divergence."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        u = field(x, torch.tensor(t, dtype=torch.float32))
        pulled = torch.autograd.grad(torch.sum(u * probe), x)[0]
    return u.detach(), (pulled * probe).flatten(1).sum(1)


def by_scipy(field: Any, x: Tensor, probe: Tensor, tolerance: float) -> Tensor:
    """What a user writes, with ``rates``."""
    size = x.numel()

    def of_all(t: float, y: np.ndarray) -> np.ndarray:
        state = torch.from_numpy(y[:size]).reshape(x.shape).float()
        u, trace = rates(field, state, t, probe)
        return np.concatenate([u.reshape(-1).numpy(), trace.numpy()])

    start = np.concatenate([x.reshape(-1).numpy(), np.zeros(len(x))])
    solution = solve_ivp(of_all, (1.0, 0.0), start, rtol=tolerance, atol=tolerance, method="RK45")
    end = torch.from_numpy(solution.y[:, -1])
    return normal(end[:size].reshape(x.shape)) + end[size:]


def by_euler(field: Any, x: Tensor, probe: Tensor, steps: int) -> Tensor:
    """What a user writes, with ``rates``."""
    change = torch.zeros(len(x))
    for n in range(steps):
        u, trace = rates(field, x, 1.0 - n / steps, probe)
        x, change = x - u / steps, change - trace / steps
    return normal(x) + change


def _score_sde(subject: Subject, setting: str) -> Run:
    x, probe = torch.from_numpy(subject.states), torch.from_numpy(subject.probe)
    tolerance = float(words(setting)["rtol"])
    return lambda: by_scipy(subject.torch_field, x, probe, tolerance).numpy()


def _euler(subject: Subject, setting: str) -> Run:
    x, probe = torch.from_numpy(subject.states), torch.from_numpy(subject.probe)
    steps = int(words(setting)["steps"])
    return lambda: by_euler(subject.torch_field, x, probe, steps).numpy()


SCORE_SDE = Entrant(
    name="score SDE's method",
    package="scipy",
    default="rk45 rtol=1e-5",
    ladder=tuple(f"rk45 rtol={tolerance}" for tolerance in ("1e-2", "1e-3", "1e-4")),
    program=_score_sde,
    written=by_scipy,
    without="error bar, exact trace",
    probe=lambda subject: subject.probe,
)
EULER = Entrant(
    name="Euler, one probe",
    package="torch",
    default="euler steps=64",
    ladder=tuple(f"euler steps={n}" for n in (16, 256, 1024)),
    program=_euler,
    written=by_euler,
    without="error bar, exact trace",
    probe=lambda subject: subject.probe,
)
