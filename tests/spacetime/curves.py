"""Worlds, points and curves that the laws of spacetime are held against."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from oracles import PATHS, matrices

import densityguide as dg
from densityguide.spacetime import Point


@cache
def few(size=3, path="vp"):
    """A mixture of three Gaussians with different covariances."""
    rng = np.random.default_rng(7)
    means = 1.2 * rng.normal(size=(3, size))
    scales = np.exp(rng.uniform(-1.2, 0.0, size=(3, size)))
    return dg.worlds.mixture([0.5, 0.2, 0.3], means, scales, path=PATHS[path], log_snr=(-9.0, 9.0))


def at(flow, y, level):
    return dg.spacetime.point(flow, jnp.asarray(y, float), level)


def pair(flow, seed=0, level=3.0, apart=1.0):
    """Two points near the data."""
    rng = np.random.default_rng(seed)
    y = apart * rng.normal(size=(2, *flow.shape))
    return at(flow, y[0], level), at(flow, y[1], level)


def wave(flow, segments, seed=0):
    """A smooth curve that is no geodesic, at ``segments + 1`` points."""
    rng = np.random.default_rng(seed)
    ends, bow = rng.normal(size=(2, *flow.shape)), rng.normal(size=flow.shape)
    s = np.linspace(0.0, 1.0, segments + 1)
    y = ends[0] + s[:, None] * (ends[1] - ends[0]) + np.sin(np.pi * s)[:, None] * bow
    levels = 2.0 + 1.5 * np.sin(2.0 * s) - 2.0 * s * (1.0 - s)
    return Point(jnp.asarray(y), jnp.asarray(levels))


def posterior(flow, point):
    """Weights [K], means [K, D] and covariances [K, D, D] of p(x0 | x) of a mixture, with NumPy:
    Gaussian conditioning of every component."""
    alpha = float(flow.path.alpha(point.log_snr))
    x, nu = alpha * np.asarray(point.y), np.exp(float(point.log_snr))
    weights, means, covariances = matrices(flow, point.log_snr)
    offset = x - means
    logs = [
        np.log(w) - 0.5 * (o @ np.linalg.solve(c, o) + np.linalg.slogdet(c)[1])
        for w, o, c in zip(weights, offset, covariances, strict=True)
    ]
    shares = np.exp(logs - np.logaddexp.reduce(logs))
    prior = [np.diag(v) for v in np.asarray(flow.params.variances)]
    found = [np.linalg.inv(np.linalg.inv(c) + nu * np.eye(flow.size)) for c in prior]
    centres = [
        c @ (np.linalg.solve(p, m) + nu * np.asarray(point.y))
        for c, p, m in zip(found, prior, np.asarray(flow.params.means), strict=True)
    ]
    return shares, np.stack(centres), np.stack(found)


def draw(flow, point, count, seed=0):
    """Samples [count, D] of p(x0 | x), and their log p0."""
    rng = np.random.default_rng(seed)
    shares, centres, covariances = posterior(flow, point)
    k = rng.choice(len(shares), count, p=shares)
    roots = np.linalg.cholesky(covariances)
    return centres[k] + np.einsum("nij,nj->ni", roots[k], rng.normal(size=(count, flow.size)))


def straight_psi(flow):
    """psi as a function of eta = (nu y, -nu / 2), from the world's own closed form."""

    def psi(eta):
        nu = -2.0 * eta[-1]
        y, level = eta[:-1] / nu, jnp.log(nu)
        alpha = flow.path.alpha(level)
        log_p = flow.log_density(alpha * y, level) + flow.size * jnp.log(alpha)
        return log_p + 0.5 * nu * jnp.sum(y**2) + 0.5 * flow.size * jnp.log(2 * jnp.pi / nu)

    return psi


def eta_of(point):
    nu = jnp.exp(point.log_snr)
    return jnp.append(nu * point.y, -0.5 * nu)


def energy(flow, curve, **options):
    return dg.spacetime.curve_energy(flow, curve, **options)


def many(flow, a, b, **options):
    """Geodesics of pairs stacked along a leading axis, in one program."""
    return jax.jit(jax.vmap(lambda a, b: dg.geodesic(flow, a, b, **options)))(a, b)


def stack(points):
    return jax.tree.map(lambda *some: jnp.stack(some), *points)
