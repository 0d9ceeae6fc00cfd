"""Networks and their frameworks, conditions, EDM's preconditioning, classifier-free guidance."""

import flax.linen as nn
import jax.numpy as jnp
from flax import nnx
from makers import LINEAR, bare, build, world, x

import densityguide as dg

VE = dg.paths.variance_exploding()


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        return x


class Nnx(nnx.Module):
    def __init__(self):
        self.scale = nnx.Param(jnp.ones(()))

    def __call__(self, x, t):
        return self.scale * x


class Counting(nnx.Module):
    def __init__(self):
        self.calls = nnx.Variable(jnp.zeros(()))

    def __call__(self, x, t):
        self.calls[...] += 1.0
        return x


def told(condition=0, **more):
    return build(apply=lambda x, t, c: x, condition=condition, **more)


def free(**more):
    return dg.classifier_free(told(), 2.0, **{"negative": 1} | more)


def edm(**more):
    return build(**{"apply": dg.edm(lambda x, t: x), "path": VE, "prediction": "data"} | more)


MISUSES = {
    "table": (
        lambda: build(apply=lambda x, t: jnp.arange(10.0)[t] * x),
        "looks its time up in a table, by whole numbers: pass integer_times=True",
    ),
    "times before a table": (
        lambda: build(apply=lambda x, t: jnp.arange(10.0)[t] * x, integer_times=True),
        r"told \[-\d.*pass integer_times=False; if not.*clock=densityguide.clocks.ddpm",
    ),
    "times that are no indices": (
        lambda: bare(lambda x, t: jnp.arange(10.0)[t] * x, integer_times=True),
        r"makes whole numbers of its time, and is told \[0. 1.\] at the ends",
    ),
    # frameworks
    "class": (lambda: build(apply=Linen), "function or a module, got the class.*an instance of it"),
    "linen": (lambda: build(apply=Linen()), "linen module keeps no weights: pass params="),
    "twice": (lambda: build(apply=Nnx(), params={}), "come with a module of nnx: leave params="),
    "state": (lambda: build(apply=Counting()), "changes its own state when called"),
    # scores of any flow
    "score": (lambda: bare(score=3.0), r"score must be a function \(params, x, t\), got 3.0"),
    "score-nnx": (lambda: bare(score=Nnx()), "got a module of nnx, whose weights would be lost"),
    "score-linen": (lambda: bare(score=Linen()), "got a module of linen, whose weights"),
    # conditions
    "given": (lambda: build().given(3), "takes no condition: build it with condition="),
    "alike": (lambda: told().given(jnp.ones(3)), "must look like the flow's condition, int32"),
    "alike-shape": (lambda: told().given(jnp.ones(3, int)), "must look like the flow's condition"),
    # EDM
    "edm": (lambda: dg.edm(Nnx(), 0.0), "sigma_data must be a positive number, got 0.0"),
    "edm-path": (lambda: edm(path=LINEAR), "on linear: pass path=.*variance_exploding"),
    "edm-clock": (lambda: edm(), "takes its noise from the time.*clock=.*edm_noise"),
    "edm-prediction": (lambda: edm(prediction="noise"), "got prediction='noise'.*\"data\""),
    # classifier-free guidance
    "free": (lambda: dg.classifier_free(world(), 2.0, negative=0), "needs a flow built with cond"),
    "free-negative": (lambda: free(negative=0.5), "negative must look like the flow's condition"),
    "free-pair": (lambda: free(interval=3.0), r"must be a pair \(low, high\) of the clock"),
    "free-order": (lambda: free(interval=(2.0, -2.0)), "interval must rise.*swap"),
    "free-scale": (lambda: dg.classifier_free(told(), x(), negative=1), "scale must be one number"),
}
