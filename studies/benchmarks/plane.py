"""Which method and steps the plain flow gets where there is no path: error and bar in the plane.

    python -m studies benchmark plane

Log p of a flow's own samples, encoded in float64, against eighth-order steps. Four velocity fields
over flow time: a network trained by flow matching on two moons, and the shipped spiral and two
mixtures of Gaussians (wide, and narrow: a standard deviation of .03 to .05) as straight paths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from studies.benchmarks import report
from studies.peers import moons

COUNT, SEED, ENDS = 48, 3, (-9.0, 9.0)
MEANS = [[-1.0, 0.0], [1.5, 0.5]]


def chebyshev(start: Any, stop: Any, steps: int) -> Any:
    """Equal steps in the angle of a half circle: very short ones at both ends."""
    angle = jnp.pi * jnp.linspace(0.0, 1.0, steps + 1)
    return start + (stop - start) * 0.5 * (1.0 - jnp.cos(angle))


TRIED: dict[str, dict[str, Any]] = {
    "Adams 4, equal steps": {"solver": dg.Adams(4), "grid": dg.grids.uniform},
    "Adams 4, eased": {"solver": dg.Adams(4), "grid": dg.grids.eased},
    "Adams 4, Chebyshev": {"solver": dg.Adams(4), "grid": chebyshev},
    "Tsitouras 5": {"solver": diffrax.Tsit5()},
}
STAGES = {"Tsitouras 5": 6}


def in_flow_time(flow: dg.Flow) -> dg.Flow:
    """A flow on the linear path as a velocity field over its time, and no more."""
    start, stop = (1.0 / (1.0 + np.exp(-0.5 * end)) for end in ENDS)

    def velocity(flow: dg.Flow, x: Any, t: Any) -> Any:
        return flow.velocity(x, 2.0 * (jnp.log(t) - jnp.log1p(-t))) * 2.0 / (t * (1.0 - t))

    prior = dg.priors.normal(flow.shape)
    return dg.cnf(velocity, params=flow, prior=prior, interval=(start, stop), shape=flow.shape)


def subjects() -> dict[str, tuple[dg.Flow, Any]]:
    """Flows, and samples of theirs."""
    key = jax.random.key(SEED)
    weights = moons.trained(4000, Path(__file__).parents[1] / "peers/weights/moons-4000.npz")
    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), weights)
    prior = dg.priors.normal((2,))
    trained = dg.cnf(moons.velocity, params=params, prior=prior, interval=(0.0, 1.0), shape=(2,))
    found = {}
    path = dg.paths.linear()
    based = {
        "spiral": dg.models.load("spiral2d"),
        "wide mixture": dg.worlds.mixture(
            [0.6, 0.4], MEANS, [[0.5], [0.3]], path=path, log_snr=ENDS
        ),
        "narrow mixture": dg.worlds.mixture(
            [0.6, 0.4], MEANS, [[0.05], [0.03]], path=path, log_snr=ENDS
        ),
    }
    for name, flow in based.items():
        draw = jax.jit(
            jax.vmap(
                lambda flow, key: dg.sample(flow, dg.latent(flow, key), divergence=None).x,
                (None, 0),
            )
        )
        found[name] = in_flow_time(flow), draw(flow, jax.random.split(key, COUNT))
    found["moons"] = trained, jnp.asarray(moons.data(key, COUNT), jnp.float64)
    return found


def encoded(flow: dg.Flow, x: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Log p and the solver's bar."""

    def one(flow: dg.Flow, x: Any) -> Any:
        out = dg.log_density(flow, x, **options)
        return out.value, out.solver_error

    value, bar = jax.jit(jax.vmap(one, (None, 0)))(flow, x)
    return np.asarray(value), np.asarray(bar)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)  # nothing is timed
    rows = []
    for name, (flow, x) in subjects().items():
        truth = encoded(flow, x, solver=diffrax.Dopri8(), steps=120)[0]
        for label, options in TRIED.items():
            for evaluations in (24, 48):
                steps = evaluations // STAGES.get(label, 1)
                value, bar = encoded(flow, x, steps=steps, **options)
                gap = np.abs(value - truth)
                covered, ratio = np.mean(bar >= gap), np.median(bar / gap)
                rms = float(np.sqrt(np.mean(gap**2)))
                rows.append(
                    (name, label, evaluations, rms, float(gap.max()), f"{covered:.0%}", ratio)
                )
                print(*rows[-1], flush=True)
    heads = ["flow", "steps", "evaluations", "RMS (nats)", "greatest", "covered by the bar"]
    report.write("plane", [*heads, "bar / error, median"], rows)


if __name__ == "__main__":
    main()
