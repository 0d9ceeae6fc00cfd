"""Models, data for them, and ways of wiring them wrong."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from densityguide import data
from densityguide.flow import clocks, paths, predictions
from densityguide.flow.build import from_path
from studies.third_party import mnist_networks

OTHERS = mnist_networks.NAMES


@cache
def load(name):
    return mnist_networks.load(name) if name in OTHERS else dg.models.load(name)


@cache
def pictures(name, count=32):
    """Data on the model's scale: of its own set where that is at hand, else its own samples."""
    if name in OTHERS:
        return jnp.asarray(mnist_networks.digits(name, count))
    flow, key = load(name), jax.random.key(5)
    if name.startswith("digits8"):
        images = data.load("digits8").heldout[:count]
        return jax.vmap(flow.transform)(images, jax.random.split(key, count))
    sample = jax.vmap(
        lambda key: dg.sample(flow, dg.latent(flow, key), steps=16, divergence=None).x
    )
    return jax.jit(sample)(jax.random.split(key, count))


def rewired(flow, **changes):
    """The flow with other parts of its Gaussian field."""
    field = dataclasses.replace(flow.field, **changes)
    return from_path(dataclasses.replace(flow, field=field, path=field.path))


@dataclasses.dataclass(frozen=True)
class Clock:
    """The clock of a flow, spoiled."""

    clock: object
    how: str

    def __call__(self, log_snr):
        if self.how == "reversed":
            return self.clock(-log_snr)
        if self.how == "constant":
            return self.clock(jnp.zeros_like(log_snr))
        return {"thousandth": 0.001, "half": 0.5}[self.how] * self.clock(log_snr)


@dataclasses.dataclass(frozen=True)
class Network:
    """The network of a flow, called wrongly."""

    apply: object
    how: str

    def __call__(self, params, x, t):
        if self.how == "negated":
            return -self.apply(params, x, t)
        if self.how == "timeless":
            return self.apply(params, x, 0.0 * t + 0.5)
        if self.how == "output transposed":
            return jnp.swapaxes(self.apply(params, x, t), 0, 1)
        if self.how == "output reversed":
            return self.apply(params, x, t)[..., ::-1]
        raise ValueError(self.how)


def clock(how):
    return lambda flow: rewired(flow, clock=Clock(flow.field.clock, how))


def network(how):
    return lambda flow: rewired(flow, apply=Network(flow.field.apply, how))


def predicting(name):
    return lambda flow: rewired(flow, kind=predictions.kind_of(name, flow.path))


def on(path):
    return lambda flow: rewired(flow, path=path)


def betas(table, by=1.0):
    def change(flow):
        if by == 1.0:
            return rewired(flow, clock=clocks.ddpm(table))
        return rewired(flow, clock=mnist_networks.PerThousand(table))

    return change


ROOTS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
SHORT = np.linspace(1e-4, 0.01, 1000)
WRONG = {
    "data for noise": predicting("data"),
    "v for noise": predicting("v"),
    "noise for v": predicting("noise"),
    "noise for data": predicting("noise"),
    "noise for velocity": predicting("noise"),
    "sign": network("negated"),
    "timeless": network("timeless"),
    "clock reversed": clock("reversed"),
    "clock thousandth": clock("thousandth"),
    "clock half": clock("half"),
    "flow time reversed": lambda flow: rewired(flow, clock=clocks.reversed_flow_time),
    "linear path": on(paths.linear()),
    "variance exploding path": on(paths.variance_exploding()),
    "variance preserving path": on(paths.variance_preserving()),
    "betas of roots": betas(ROOTS),
    "betas of roots, by 1000": betas(ROOTS, 1000.0),
    "betas too small": betas(SHORT),
    "output transposed": network("output transposed"),
    "output reversed": network("output reversed"),
}
