"""Reference worlds and independent formulas that the laws are held against."""

import json
from functools import cache, partial
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg

PATHS = {
    "vp": dg.paths.variance_preserving(),
    "ve": dg.paths.variance_exploding(),
    "linear": dg.paths.linear(),
}


@cache
def pinned() -> dict:
    file = Path(__file__).with_name("worlds.json")
    return json.loads(file.read_text())["worlds"]


def world(name: str, path: str = "vp", ends=(-10.0, 8.0), exact: bool = True) -> dg.Flow:
    """A pinned mixture as a flow; ``exact`` starts it from its own marginal."""
    spec = pinned()[name]
    flow = dg.worlds.mixture(
        np.array(spec["weights"]),
        np.array(spec["means"]),
        np.array(spec["scales"]),
        path=PATHS[path],
        log_snr=ends,
    )
    return dg.worlds.exact_prior(flow) if exact else flow


def gaussian(size: int = 4, path: str = "vp", ends=(-6.0, 6.0), exact: bool = True) -> dg.Flow:
    """A Gaussian with full covariance."""
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size)) / size**0.5
    flow = dg.worlds.gaussian(
        rng.normal(size=size),
        root @ root.T + 0.2 * np.eye(size),
        path=PATHS[path],
        log_snr=ends,
    )
    return dg.worlds.exact_prior(flow) if exact else flow


def latents(flow: dg.Flow, count: int, seed: int = 0) -> jax.Array:
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.vmap(lambda key: dg.latent(flow, key))(keys)


def closed_form(flow: dg.Flow, x: jax.Array) -> jax.Array:
    """Log p of reported samples ``x`` [n, D] (data scale), from the world's own formula."""
    alpha = flow.end_scale()
    values = jax.vmap(lambda x: flow.log_density(alpha * x, flow.interval[1]))(x)
    return values + flow.size * jnp.log(alpha)


@partial(jax.jit, static_argnames=("make", "options"))
def _decode(flow, x, values, make, rtol, options):
    options = dict(options) | ({} if rtol is None else {"rtol": rtol})

    def one(x, value):
        guidance = None if make is None else make(value)
        return dg.sample(flow, x, guidance=guidance, **options)

    return jax.vmap(one, in_axes=(0, None if values is None else 0))(x, values)


def decode(flow, x, values=None, make=None, *, rtol=None, **options) -> dg.Sample:
    """Samples from latents [n, D], each under ``make(value)`` of its own; what was steered is not
    encoded unless ``measure=True``."""
    options.setdefault("measure", False)
    return _decode(flow, x, values, make, rtol, tuple(sorted(options.items())))


@partial(jax.jit, static_argnames=("options",))
def _encode(flow, x, rtol, options):
    options = dict(options) | ({} if rtol is None else {"rtol": rtol})
    return jax.vmap(lambda x: dg.log_density(flow, x, **options))(x)


def encode(flow, x, *, rtol=None, **options) -> dg.LogDensity:
    """Log-densities of samples [n, D]."""
    return _encode(flow, x, rtol, tuple(sorted(options.items())))


def every_world(*quick):
    """The pairs ``quick`` of pinned world and path, and other paths in 32 dimensions as slow."""
    other = [path for path in PATHS if path not in [known for _, known in quick]]
    slow = [pytest.param("mixture32", path, marks=pytest.mark.slow) for path in other]
    return pytest.mark.parametrize(("name", "path"), [*quick, *slow])


TIGHT = {"rtol": 1e-10, "solver": diffrax.Dopri8(scan_kind="bounded"), "max_steps": 400}


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values)))))


def matrices(flow: dg.Flow, t) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights [K], means [K, D] and full covariances [K, D, D] of a world at log-SNR ``t``,
    written with NumPy from the table of docs/mathematics.md, not with the library."""
    name, t = flow.path.name, np.float64(t)

    def sigmoid(z):
        return 1.0 / (1.0 + np.exp(-z))

    alpha, sigma = {
        "variance_preserving": lambda: (sigmoid(t) ** 0.5, sigmoid(-t) ** 0.5),
        "variance_exploding": lambda: (1.0, np.exp(-t / 2)),
        "linear": lambda: (sigmoid(t / 2), sigmoid(-t / 2)),
    }[name]()
    p = flow.params
    if isinstance(p, dg.worlds.Gaussian):
        basis = np.asarray(p.basis)
        covariances = (basis * np.asarray(p.variances)) @ basis.T
        weights, means, covariances = np.ones(1), np.asarray(p.mean)[None], covariances[None]
    else:
        weights, means = np.asarray(p.weights), np.asarray(p.means)
        covariances = np.stack([np.diag(v) for v in np.asarray(p.variances)])
    noise = sigma**2 * np.eye(means.shape[1])
    return weights / weights.sum(), alpha * means, alpha**2 * covariances + noise


def runge_kutta(field, y, start, stop, steps: int):
    """The classical fourth-order method by hand, over equal steps: no diffrax, no library."""
    width = (stop - start) / steps

    def moved(y, k, by):
        return jax.tree.map(lambda a, b: a + by * b, y, k)

    def step(y, n):
        t = start + n * width
        k1 = field(t, y)
        k2 = field(t + width / 2, moved(y, k1, width / 2))
        k3 = field(t + width / 2, moved(y, k2, width / 2))
        k4 = field(t + width, moved(y, k3, width))
        rates = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
        return moved(y, rates, width), None

    return jax.lax.scan(step, y, jnp.arange(steps, dtype=float))[0]
