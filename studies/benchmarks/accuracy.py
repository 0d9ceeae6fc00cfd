"""Error of log p against network evaluations: Runge-Kutta methods and Adams.

Each solve takes one probe throughout, the same as the converged one (on digits8 exact traces), so
that only the solver differs.
"""

from __future__ import annotations

from functools import partial

import diffrax
import jax
import numpy as np

import densityguide as dg
from densityguide import plotting, solve
from densityguide.density.probes import rademacher
from studies.benchmarks import report

BUDGETS = (16, 24, 32, 64, 128, 256)
COUNT = {"emoji32": 4, "digits8": 6}
SOLVERS = {
    "Euler": diffrax.Euler(),
    "Heun": diffrax.Heun(),
    "Bogacki-Shampine": diffrax.Bosh3(),
    "Tsitouras 5": diffrax.Tsit5(),
    "Adams of order 2": dg.Adams(2),
    "Adams": dg.Adams(),
}


def frozen(key, index, cycle, probes, shape, dtype):
    """The same probe at every evaluation."""
    return rademacher(key, 0, 1, 1, shape, dtype)


@partial(jax.jit, static_argnames=("solver", "steps", "trace"))
def ours(flow, x, key, solver, steps, trace):
    out = dg.sample(flow, x, divergence=trace, key=key, solver=solver, steps=steps)
    return out.log_density, out.x, out.evaluations


def rms(error):
    return float(np.sqrt(np.mean(np.square(np.asarray(error, float)))))


def steps_for(solver, budget):
    return (budget - 1) // solve.Method(solver, False, 0).stages


def model(name):
    """Rows (solver, evaluations, error in nats, in bits/dim, of the state)."""
    flow = dg.models.load(name)
    keys = jax.random.split(jax.random.key(1), COUNT[name])
    latents = jax.vmap(lambda key: dg.latent(flow, key))(keys)
    exact = flow.size <= 256
    trace = dg.exact() if exact else dg.Trace(frozen, 1)
    run = jax.vmap(ours, in_axes=(None, 0, 0, None, None, None))
    truth, state, _ = run(flow, latents, keys, dg.Adams(), 511, trace)
    rows = []

    def add(label, evaluations, error, moved):
        bits = error / flow.size / float(np.log(2))
        rows.append((label, evaluations, error, bits, moved))
        print(*rows[-1], flush=True)

    for label, solver in SOLVERS.items():
        for budget in (*BUDGETS, 1024) if label == "Euler" and not exact else BUDGETS:
            steps = steps_for(solver, budget)
            if steps >= 3:
                log_p, x, used = run(flow, latents, keys, solver, steps, trace)
                add(label, int(used[0]), rms(log_p - truth), rms(x - state))

    return rows


def plot(rows):
    curves = {}
    for label in SOLVERS:
        points = [(row[1], row[2]) for row in rows if row[0] == label]
        curves[label] = tuple(zip(*points, strict=True))
    return plotting.convergence(curves, emphasis=("Euler", "Adams"))


def write(name, rows):
    heads = ["solver", "evaluations", "nats", "bits/dim", "state (RMS)"]
    report.write(f"accuracy_{name}", heads, rows, plot(rows))


def main():
    for name in COUNT:
        write(name, model(name))


if __name__ == "__main__":
    main()
