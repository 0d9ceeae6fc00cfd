"""What is raced on: one velocity field in JAX and in PyTorch, samples, and a frozen probe.

Every subject is told alike to everybody: a field ``u(x, t)`` from noise, N(0, I) at t = 0, to data
at t = 1. For the shipped diffusion models t is their log-SNR, rescaled, and x their
variance-preserving state, so that all solve one and the same equation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

import densityguide as dg
from densityguide.models import pretrained
from studies.peers import moons
from studies.peers.torch_networks import MLP, UNet, carry

__all__ = ["NAMES", "Subject", "forward_gap", "load", "warm"]

NAMES = ("moons", "digits8", "emoji32")
COUNTS = {"moons": 256, "digits8": 2, "emoji32": 2}
SEED = 11


class Subject(NamedTuple):
    """``jax_field(params, x, t)`` takes one sample, ``torch_field(x, t)`` a batch; ``denoiser(x,
    sigma)`` of a diffusion model is x0 in the scale of the data. ``states`` [n, *shape] at t = 1,
    ``probe`` like them of signs; ``exact``: whether traces are exact, else of that probe."""

    name: str
    flow: dg.Flow
    params: Any
    jax_field: Callable[[Any, jax.Array, jax.Array], jax.Array]
    torch_field: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    denoiser: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None
    states: np.ndarray
    probe: np.ndarray
    exact: bool

    @property
    def size(self) -> int:
        return self.flow.size

    @property
    def bits(self) -> float:
        """Nats of one bit/dim."""
        return self.size * float(np.log(2.0))

    @property
    def samples(self) -> np.ndarray:
        """What `densityguide.log_density` takes: on the scale of the data."""
        return self.states if self.flow.path is None else self.states / _alpha(self.flow)


def _alpha(flow: dg.Flow) -> np.ndarray:
    return np.asarray(flow.path.alpha(flow.interval[1]))


def load(name: str, folder: Path, small: bool = False) -> Subject:
    """A subject by name; ``folder`` keeps the weights in the plane, ``small`` takes few samples."""
    count = min(COUNTS[name], 2) if small else COUNTS[name]
    if name == "moons":
        return _moons(folder, count, 50 if small else 4000)
    return _shipped(name, count)


def _probe(states: np.ndarray) -> np.ndarray:
    signs = np.random.default_rng(SEED).integers(0, 2, states.shape)
    return (2 * signs - 1).astype(np.float32)


def _moons(folder: Path, count: int, steps: int) -> Subject:
    params = moons.trained(steps, folder / f"moons-{steps}.npz")
    network = carry(MLP(moons.WIDTH, moons.DEPTH), params)
    prior = dg.priors.normal((2,))
    params = jax.tree.map(jnp.asarray, params)
    flow = dg.cnf(moons.velocity, params=params, prior=prior, interval=(0.0, 1.0), shape=(2,))
    states = np.array(moons.data(jax.random.key(SEED), count))
    return Subject(
        "moons", flow, params, moons.velocity, network, None, states, _probe(states), True
    )


def _shipped(name: str, count: int) -> Subject:
    flow = dg.models.load(name)
    start, stop = (float(end) for end in flow.interval)
    span = stop - start
    card = pretrained.load(pretrained.folder_of(name))[2]
    network = carry(UNet(flow.shape[-1], **card.network["fields"]), flow.params["params"])

    def jax_field(flow: dg.Flow, x: jax.Array, t: jax.Array) -> jax.Array:
        return span * flow.velocity(x, start + span * t)

    def torch_field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        log_snr = (start + span * t).expand(x.shape[0])
        # u = -alpha sigma v / 2 on the variance-preserving path.
        rate = -0.5 * span * (torch.sigmoid(log_snr) * torch.sigmoid(-log_snr)).sqrt()
        return rate.reshape(-1, 1, 1, 1) * network(x, log_snr)

    def denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        log_snr = -2.0 * sigma.log()
        alpha = torch.sigmoid(log_snr).sqrt().reshape(-1, 1, 1, 1)
        noise = torch.sigmoid(-log_snr).sqrt().reshape(-1, 1, 1, 1)
        return alpha * (alpha * x) - noise * network(alpha * x, log_snr)

    keys = jax.random.split(jax.random.key(SEED), count)
    drawn = jax.jit(
        lambda flow, keys: jax.lax.map(
            lambda key: dg.sample(flow, dg.latent(flow, key), divergence=None).x, keys
        )
    )(flow, keys)
    states = np.array(drawn) * _alpha(flow)
    return Subject(
        name,
        flow,
        flow,
        jax_field,
        torch_field,
        denoiser,
        states,
        _probe(states),
        flow.is_small,
    )


def forward_gap(subject: Subject) -> float:
    """RMS of the difference of the two networks' velocities over that of the velocity, the worst of
    three times."""
    worst = 0.0
    run = jax.jit(jax.vmap(subject.jax_field, (None, 0, None)))
    for t in (0.1, 0.5, 0.9):
        ours = np.asarray(run(subject.params, subject.states, jnp.float32(t)))
        with torch.no_grad():
            theirs = subject.torch_field(torch.from_numpy(subject.states), torch.tensor(t)).numpy()
        worst = max(worst, float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours)))
    return worst


def warm(subject: Subject) -> None:
    """PyTorch's first passes, in which its kernels are chosen."""
    for _ in range(3):
        x = torch.from_numpy(subject.states).clone().requires_grad_()
        torch.autograd.grad(subject.torch_field(x, torch.tensor(0.5)).sum(), x)
