"""Do geodesics of denoising distributions cross where a molecule would? An experiment.

    python -m studies benchmark passes

Particles on the Mueller-Brown surface at temperature T follow p(x0 | gamma_i), proportional to
exp(-U / T - nu |x0 - y|^2 / 2), from one minimum to the other by annealed Langevin steps (Alg. 1
of arXiv 2505.17517). A curve is good if the largest U on the way is low; weights of annealed
importance sampling and the lag behind the true mean say how far the particles are from following.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from densityguide.density.trace import exact
from densityguide.spacetime import Point
from densityguide.spacetime.family import moments
from studies.benchmarks.spacetime import write

TEMPERATURE, LEVEL, SEGMENTS, SPACING = 6.0, 6.0, 64, 0.05
PARTICLES, STEPS = 256, 40
FIRST, LAST = (-0.558, 1.442), (0.623, 0.028)
DEPTHS = jnp.asarray([-200.0, -100.0, -170.0, 15.0])
XX, XY, YY = (
    jnp.asarray(c)
    for c in ([-1.0, -1.0, -6.5, 0.7], [0.0, 0.0, 11.0, 0.6], [-10.0, -10.0, -6.5, 0.7])
)
CENTRES = jnp.asarray([[1.0, 0.0], [0.0, 0.5], [-0.5, 1.5], [-1.0, 1.0]])


def potential(x: Any) -> Any:
    """U of Mueller and Brown (1979) at one point [2]."""
    d = x - CENTRES
    bowl = XX * d[:, 0] ** 2 + XY * d[:, 0] * d[:, 1] + YY * d[:, 1] ** 2
    return jnp.sum(DEPTHS * jnp.exp(bowl))


def world() -> dg.Flow:
    """exp(-U / T), blurred by the spacing of a grid: a mixture."""
    axes = np.arange(-1.7, 1.3, SPACING), np.arange(-0.5, 2.2, SPACING)
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    logs = -np.asarray(jax.vmap(potential)(jnp.asarray(grid))) / TEMPERATURE
    keep = logs > logs.max() - 30.0
    weights = np.exp(logs[keep] - logs.max())
    return dg.worlds.mixture(weights, grid[keep], SPACING, log_snr=(-6.0, 9.0))


@jax.jit
def psi(flow: dg.Flow, at: Point) -> Any:
    """The log-partition function of the family."""
    assert flow.path is not None
    alpha, nu = flow.path.alpha(at.log_snr), jnp.exp(at.log_snr)
    log_p = flow.log_density(alpha * at.y, at.log_snr) + 2 * jnp.log(alpha)
    return log_p + 0.5 * nu * jnp.sum(at.y**2) + jnp.log(2.0 * jnp.pi / nu)


@jax.jit
def follow(flow: dg.Flow, curve: Point, key: Any) -> tuple[Any, Any, Any]:
    """Largest U [particles], log weights [particles] and the lag (in standard deviations of the
    posterior) at every point."""
    log_p = jax.grad(lambda x: flow.density(flow.params, x, jnp.asarray(9.0)))  # type: ignore[misc]
    psis = jax.vmap(lambda at: psi(flow, at))(curve)
    found = jax.vmap(lambda at: moments(flow, at, exact(), None))(curve)
    key, first = jax.random.split(key)
    # The first point is at low noise, where the posterior is one Gaussian.
    spread = jnp.sqrt(found.noise[0, 0] * jnp.exp(-curve.log_snr[0]) / 2)
    x = found.mean[0] + spread * jax.random.normal(first, (PARTICLES, 2))

    def point(carry: Any, args: Any) -> Any:
        x, weight, top = carry
        old, new, turn, mean, noise, key = args
        nu0, nu1 = jnp.exp(old.log_snr), jnp.exp(new.log_snr)
        square = jnp.sum(x**2, axis=1)
        weight += (nu1 * new.y - nu0 * old.y) @ x.T - 0.5 * (nu1 - nu0) * square - turn
        width = 0.5 / (nu1 + 4000.0 / TEMPERATURE)

        def step(carry: Any, key: Any) -> Any:
            x, top = carry
            force = jax.vmap(log_p)(x) + nu1 * (new.y - x)
            x = x + width * force + jnp.sqrt(2 * width) * jax.random.normal(key, x.shape)
            return (x, jnp.maximum(top, jax.vmap(potential)(x))), None

        (x, top), _ = jax.lax.scan(step, (x, top), jax.random.split(key, STEPS))
        lag = jnp.linalg.norm(x.mean(0) - mean) / jnp.sqrt(noise[0] / nu1)
        return (x, weight, top), lag

    old, new = (jax.tree.map(lambda a, s=s: a[s], curve) for s in (slice(0, -1), slice(1, None)))
    keys = jax.random.split(key, SEGMENTS)
    zero = jnp.zeros(PARTICLES)
    xs = (old, new, jnp.diff(psis), found.mean[1:], found.noise[1:], keys)
    (_, weight, top), lag = jax.lax.scan(point, (x, zero, zero - 1e3), xs)
    return top, weight, lag


def main() -> None:
    """Three ways from one minimum to the other."""
    flow = world()
    a, b = (dg.spacetime.point(flow, jnp.asarray(y), LEVEL) for y in (FIRST, LAST))
    found = dg.geodesic(flow, a, b, segments=SEGMENTS, span="free", iterations=150)
    share = jnp.linspace(0.0, 1.0, SEGMENTS + 1)[:, None]
    straight = a.y + share * (b.y - a.y)
    curves = {
        "geodesic": found.curve,
        "straight, log-SNR of the geodesic": Point(straight, found.curve.log_snr),
        "straight, log-SNR 6": Point(straight, jnp.full(SEGMENTS + 1, LEVEL)),
    }
    rows = []
    for name, curve in curves.items():
        energy = dg.spacetime.curve_energy(flow, curve)
        top, weight, lag = (np.asarray(v) for v in follow(flow, curve, jax.random.key(0)))
        shifted = np.exp(weight - weight.max())
        effective = shifted.sum() ** 2 / np.sum(shifted**2) / PARTICLES
        mean = weight.max() + np.log(shifted.mean())
        cells = f"{float(energy.length):.2f}", f"{top.mean():.1f} +- {top.std():.1f}"
        rows.append((name, *cells, f"{lag.max():.1f}", f"{100 * effective:.1f}", f"{mean:.1f}"))
    heads = ["curve", "length", "largest U", "largest lag (sd)", "effective %", "log mean weight"]
    write("passes", heads, rows)


if __name__ == "__main__":
    main()
