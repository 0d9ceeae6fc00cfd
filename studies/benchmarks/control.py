"""Error of log p against the request, on the pinned mixture in 12 dimensions."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from studies.benchmarks import report

COUNT = 64
WORLD = Path(__file__).parent.parent / "tests" / "worlds.json"


def world(start, stop):
    """The flow and its closed-form log p at the data end, on the scale of data."""
    pinned = json.loads(WORLD.read_text())["worlds"]["mixture12"]
    flow = dg.worlds.mixture(
        *(np.asarray(pinned[part]) for part in ("weights", "means", "scales")),
        log_snr=(start, stop),
    )
    flow = dg.worlds.exact_prior(flow)
    alpha = flow.end_scale()

    def truth(x):
        return flow.log_density(alpha * x, stop) + flow.size * jnp.log(alpha)

    return flow, truth


def rms(values):
    return float(np.sqrt(np.mean(np.square(np.asarray(values)))))


@partial(jax.jit, static_argnames=("steps", "solver"))
def aimed(flow, latents, goals, steps, solver):
    def one(x, goal):
        return dg.sample(flow, x, guidance=dg.target(goal), steps=steps, solver=solver)

    return jax.vmap(one)(latents, goals)


@partial(jax.jit, static_argnames=("steps", "solver", "form"))
def noisy(flow, latents, keys, level, steps, solver, form):
    noise = dg.noise.constant(level, form=form)
    guidance = dg.quantile(jax.scipy.stats.norm.cdf(-0.3))

    def one(x, key):
        return dg.sample(
            flow, x, guidance=guidance, noise=noise, key=key, steps=steps, solver=solver
        )

    return jax.vmap(one)(latents, keys)


def targets():
    flow, truth = world(-10.0, 8.0)
    flow = dg.calibrate(flow, jax.random.key(1))
    keys = jax.random.split(jax.random.key(0), COUNT)
    latents = jax.vmap(lambda key: dg.latent(flow, key))(keys)
    natural = jax.vmap(lambda x: dg.sample(flow, x, steps=127).log_density)(latents)
    goals = jnp.linspace(*jnp.percentile(natural, jnp.asarray([5.0, 95.0])), COUNT)
    for label, solver, stages in (
        ("Euler", diffrax.Euler(), 1),
        ("Heun", diffrax.Heun(), 2),
        ("Bogacki-Shampine", diffrax.Bosh3(), 3),
        ("Adams of order 2", dg.Adams(2), 1),
        ("Adams of order 4", dg.Adams(), 1),
    ):
        for budget in (64, 127, 511):
            out = aimed(flow, latents, goals, (budget - 1) // stages, solver)
            met = (np.asarray(out.status) & int(dg.Status.UNMET)) == 0
            miss = np.asarray(jax.vmap(truth)(out.x) - goals)
            yield f"target, {label}", int(out.evaluations[0]), rms(miss[met]), f"{met.mean():.0%}"


@partial(jax.jit, static_argnames="steps")
def published(flow, latents, keys, level, steps):
    """The published form written out: Euler-Maruyama with the whole Laplacian as its correction.
    Returns x / alpha and the schedule that log p should follow."""
    start, stop = flow.interval
    dt = (stop - start) / steps
    rate = 0.5 * (2 * flow.size) ** 0.5 * -0.3

    def step(carry, n):
        x, line, key = carry
        t = start + n * dt
        score, sigma = flow.score(x, t), flow.path.sigma(t)
        laplacian = jnp.trace(jax.jacfwd(flow.score)(x, t))
        unit, phi = score / jnp.linalg.norm(score), level * sigma
        dw = jnp.sqrt(dt) * jax.random.normal(jax.random.fold_in(key, n), x.shape)
        pull = (rate - 0.5 * phi**2 * laplacian) / jnp.sum(score**2)
        divergence = flow.size * flow.path.drift(t) + 0.5 * sigma**2 * laplacian
        moved = (flow.velocity(x, t) + pull * score) * dt + phi * (dw - unit * (unit @ dw))
        return (x + moved, line + (rate - divergence) * dt, key), None

    def one(x, key):
        (x, line, _), _ = jax.lax.scan(step, (x, flow.prior.log_prob(x), key), jnp.arange(steps))
        alpha = flow.end_scale()
        return x / alpha, line + flow.size * jnp.log(alpha)

    return jax.vmap(one)(latents, keys)


def stochastic():
    """The true log p against the schedule that noise must leave alone."""
    flow, truth = world(-6.0, 3.0)
    keys = jax.random.split(jax.random.key(2), COUNT)
    latents = jax.vmap(lambda key: dg.latent(flow, key))(keys)
    for steps in (100, 400, 1600):
        x, line = published(flow, latents, keys, jnp.asarray(0.6), steps)
        miss = np.asarray(jax.vmap(truth)(x) - line)
        yield "noise, published Ito form, Euler", steps, rms(miss), ""
    for label, solver, form, stages in (
        ("Ito form with the exact trace, Euler", diffrax.Euler(), "ito", 1),
        ("Ito form with its own noise as probe, Euler", diffrax.Euler(), "ito_probe", 1),
        ("Stratonovich form, Heun", diffrax.Heun(), "stratonovich", 2),
    ):
        for budget in (100, 400, 1600):
            steps = budget // stages
            out = noisy(flow, latents, keys, jnp.asarray(0.6), steps, solver, form)
            miss = np.asarray(jax.vmap(truth)(out.x) - out.log_density)
            yield f"noise, {label}", int(out.evaluations[0]), rms(miss), ""


def main():
    jax.config.update("jax_enable_x64", True)
    rows = []
    for row in (*targets(), *stochastic()):
        rows.append(row)
        print(*row, flush=True)
    heads = ["what", "evaluations", "RMS error (nats)", "requests met"]
    report.write("control", heads, rows)


if __name__ == "__main__":
    main()
