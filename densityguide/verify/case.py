"""What one verification is about: the flow, the data, and what several checks share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import Array

from densityguide.flow.flow import Flow
from densityguide.steer.sample import sample
from densityguide.verify.denoising import Denoising, judge, within
from densityguide.verify.wirings import Wiring, decoded, wiring_of

__all__ = ["LEVELS", "Case", "usual_count"]

LEVELS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0)


def usual_count(flow: Flow) -> int:
    """Samples per check: 64 up to 256 dimensions and 32 above."""
    return 64 if flow.is_small else 32


@dataclass(frozen=True)
class Case:
    """One verification. ``data`` are None where the model is held against its own samples."""

    flow: Flow
    keys: Sequence[Array]
    data: Array | None
    labels: Array | None
    count: int
    steps: int

    @cached_property
    def wiring(self) -> Wiring:
        return wiring_of(self.flow)

    @cached_property
    def latents(self) -> Array:
        return jax.vmap(self.flow.prior.sample)(jax.random.split(self.keys[0], self.count))

    @cached_property
    def drawn(self) -> Array:
        """Samples of the model's own."""
        if self.flow.path is not None:
            return self.drawn_as(self.wiring)

        def one(latent: Array) -> Array:
            return sample(self.flow, latent, divergence=None, steps=self.steps).x

        return jax.jit(jax.vmap(one))(self.latents)

    def drawn_as(self, wiring: Wiring, count: int | None = None) -> Array:
        """Samples of the network, wired otherwise, from the same latents."""
        unit = self.latents[:count] / self.wiring.path.sigma(self.flow.interval[0])
        return decoded(self.flow, wiring, unit, self.steps)

    @cached_property
    def basis(self) -> Array:
        """What is noised: the data, or own samples."""
        return self.drawn if self.data is None else self.data

    @cached_property
    def noise(self) -> Array:
        """Unit noise, common to all levels and wirings, so that they are compared by pairs."""
        shape = (self.count, *self.flow.shape)
        noise = jax.random.normal(self.keys[1], shape, self.basis.dtype)
        return noise[: self.basis.shape[0]]

    @cached_property
    def usable(self) -> bool:
        return bool(jnp.all(jnp.isfinite(self.basis)))

    @cached_property
    def denoising(self) -> Denoising:
        return self.judged(self.wiring, self.basis)

    def judged(self, wiring: Wiring, basis: Array) -> Denoising:
        noise = self.noise[: basis.shape[0]]
        return judge(self.flow, wiring, basis, noise, within(self.flow, LEVELS))
