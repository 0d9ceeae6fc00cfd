"""Packages of PyTorch that compute a log-density: flow_matching, zuko and k-diffusion, and
torchdiffeq, which users of torchcfm take since it has none of its own."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.peers.entrant import Entrant, Run, words
from studies.peers.subjects import Subject

__all__ = ["FLOW_MATCHING", "K_DIFFUSION", "TORCHDIFFEQ", "ZUKO", "normal"]

SEED = 5  # of the probes that the packages draw themselves


def normal(z: Tensor) -> Tensor:
    """Log-density of N(0, I) for each of a batch."""
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).flatten(1).sum(1)


def by_flow_matching(field: Any, x: Tensor, exact: bool, **solving: Any) -> Tensor:
    """What a user writes."""
    from flow_matching.solver import ODESolver

    shape = x.shape

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return field(x.reshape(shape), t).flatten(1)  # it takes traces of rows only

    return ODESolver(velocity).compute_likelihood(
        x.flatten(1), log_p0=normal, exact_divergence=exact, **solving
    )[1]


def by_zuko(field: Any, x: Tensor, exact: bool, **solving: Any) -> Tensor:
    """What a user writes."""
    from zuko.transforms import FreeFormJacobianTransform

    def velocity(t: Tensor, x_flat: Tensor) -> Tensor:
        return field(x_flat.reshape(x.shape), t).flatten(1)

    to_noise = FreeFormJacobianTransform(velocity, t0=1.0, t1=0.0, exact=exact, **solving)
    with torch.no_grad():
        z, change = to_noise.call_and_ladj(x.flatten(1))
    return normal(z) + change


def by_k_diffusion(denoiser: Any, x: Tensor, ends: tuple[float, float], **solving: Any) -> Tensor:
    """What a user writes."""
    sampling = importlib.import_module("k_diffusion.sampling")
    return sampling.log_likelihood(denoiser, x, *ends, **solving)[0]


def by_torchdiffeq(field: Any, x: Tensor, probe: Tensor | None, **solving: Any) -> Tensor:
    """What a user writes."""
    from torchdiffeq import odeint

    def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = state[0].detach().requires_grad_()
            u = field(x, t)
            if probe is None:
                columns = u.flatten(1).sum(0)
                rows = [torch.autograd.grad(c, x, retain_graph=True)[0] for c in columns]
                trace = sum(row.flatten(1)[:, i] for i, row in enumerate(rows))
            else:
                pulled = torch.autograd.grad(torch.sum(u * probe), x)[0]
                trace = (pulled * probe).flatten(1).sum(1)
        return u.detach(), trace

    start = x, torch.zeros(len(x))
    z, change = odeint(rates, start, torch.tensor([1.0, 0.0]), **solving)
    return normal(z[-1]) + change[-1]


def _fixed_or_adaptive(setting: str) -> dict[str, Any]:
    """For torchdiffeq's methods, as flow_matching passes them on."""
    given = words(setting)
    if "steps" in given:
        return {"method": given["method"], "step_size": 1.0 / int(given["steps"])}
    tolerance = float(given["rtol"])
    return {"method": given["method"], "step_size": None, "rtol": tolerance, "atol": tolerance}


def _flow_matching(subject: Subject, setting: str) -> Run:
    x, solving = torch.from_numpy(subject.states), _fixed_or_adaptive(setting)

    def run() -> np.ndarray:
        torch.manual_seed(SEED)
        return by_flow_matching(subject.torch_field, x.clone(), subject.exact, **solving).numpy()

    return run


def _zuko(subject: Subject, setting: str) -> Run:
    x, rtol = torch.from_numpy(subject.states), float(words(setting)["rtol"])

    def run() -> np.ndarray:
        torch.manual_seed(SEED)
        return by_zuko(subject.torch_field, x, subject.exact, rtol=rtol, atol=0.1 * rtol).numpy()

    return run


def _load_k_diffusion(subject: Subject) -> bool:
    """Its ``sampling`` alone: the whole package imports its tools for training as well."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or subject.denoiser is None:
        return False
    if "k_diffusion" not in sys.modules:
        bare = types.ModuleType("k_diffusion")
        bare.__path__ = list(found.submodule_search_locations or ())
        sys.modules["k_diffusion"] = bare
    return installed("k_diffusion.sampling")(subject)


def _k_diffusion(subject: Subject, setting: str) -> Run:
    log_snr = torch.tensor([float(end) for end in subject.flow.interval])
    alpha, ends = torch.sigmoid(log_snr[1]).sqrt(), (-0.5 * log_snr).exp().flip(0).tolist()
    x, tolerance = (
        torch.from_numpy(subject.samples.astype(np.float32)),
        float(words(setting)["rtol"]),
    )
    volume = subject.size * float(alpha.log())

    def run() -> np.ndarray:
        torch.manual_seed(SEED)
        found = by_k_diffusion(subject.denoiser, x, tuple(ends), rtol=tolerance, atol=tolerance)
        return found.numpy() - volume

    return run


def _torchdiffeq(subject: Subject, setting: str) -> Run:
    x, solving = torch.from_numpy(subject.states), _fixed_or_adaptive(setting)
    step = solving.pop("step_size")
    if step is not None:
        solving["options"] = {"step_size": step}
    probe = None if subject.exact else torch.from_numpy(subject.probe)
    return lambda: by_torchdiffeq(subject.torch_field, x, probe, **solving).numpy()


def _of_seed(draw: Callable[[Tensor], Tensor]) -> Callable[[Subject], np.ndarray]:
    """The probe that a package draws first after the seed."""

    def probe(subject: Subject) -> np.ndarray:
        torch.manual_seed(SEED)
        drawn: np.ndarray = draw(torch.from_numpy(subject.states).flatten(1)).numpy()
        return drawn.reshape(subject.states.shape)

    return probe


def _unless_exact(probe: Callable[[Subject], np.ndarray]) -> Callable[[Subject], Any]:
    return lambda subject: None if subject.exact else probe(subject)


def installed(package: str) -> Callable[[Subject], bool]:
    """Whether a package can be imported at all."""

    def fits(subject: Subject) -> bool:
        try:
            importlib.import_module(package)
        except ImportError:
            return False
        return True

    return fits


ADAPTIVE = tuple(f"dopri5 rtol={tolerance}" for tolerance in ("1e-2", "1e-3", "1e-4"))

FLOW_MATCHING = Entrant(
    name="flow_matching",
    package="flow_matching",
    default="midpoint steps=20",
    ladder=(*ADAPTIVE, *(f"rk4 steps={n}" for n in (5, 10, 20))),
    program=_flow_matching,
    written=by_flow_matching,
    without="error bar",
    probe=_unless_exact(_of_seed(lambda x: (torch.randn_like(x) < 0) * 2.0 - 1.0)),
    fits=installed("flow_matching"),
)
ZUKO = Entrant(
    name="zuko",
    package="zuko",
    default="dopri5 rtol=1e-5",
    ladder=ADAPTIVE,
    program=_zuko,
    written=by_zuko,
    without="error bar",
    probe=_unless_exact(_of_seed(torch.randn_like)),
    fits=installed("zuko"),
)
K_DIFFUSION = Entrant(
    name="k-diffusion",
    package="k-diffusion",
    default="dopri5 rtol=1e-4",
    ladder=ADAPTIVE,
    program=_k_diffusion,
    written=by_k_diffusion,
    without="error bar, exact trace",
    probe=_of_seed(lambda x: torch.randint_like(x, 2) * 2 - 1),
    prior_variance=lambda subject: 1.0 / (1.0 + float(np.exp(subject.flow.interval[0]))),
    fits=_load_k_diffusion,
)
TORCHDIFFEQ = Entrant(
    name="torchdiffeq, by hand",
    package="torchdiffeq",
    default="dopri5 rtol=1e-5",
    ladder=(*ADAPTIVE, *(f"rk4 steps={n}" for n in (5, 10, 20))),
    program=_torchdiffeq,
    written=by_torchdiffeq,
    without="error bar",
    # flow_matching does the same inside; exact traces of many dimensions take it minutes.
    fits=lambda subject: installed("torchdiffeq")(subject) and subject.name != "digits8",
)
