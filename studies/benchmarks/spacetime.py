"""What distances of denoising distributions say: worlds first, then learned networks.

    python -m studies benchmark spacetime [ball] [flows] [digits] [anchors] [emoji] [cost] [passes]

Each name writes its table into spacetime.md beside this file.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import densityguide as dg
from densityguide.plotting import spearman
from densityguide.spacetime import Point
from studies.benchmarks import report

PAGE = Path(__file__).with_name("spacetime.md")
PAIRS, SEED = 24, 0


def write(name: str, heads: list[str], rows: list[Any]) -> None:
    """A table of the page."""
    report.write(name, heads, rows, page=PAGE)


def mixture(size: int) -> dg.Flow:
    """Four Gaussians of different shapes."""
    rng = np.random.default_rng(7)
    scales = np.exp(rng.uniform(-1.5, -0.3, size=(4, size)))
    return dg.worlds.mixture(np.ones(4), rng.normal(size=(4, size)), scales, log_snr=(-10.0, 9.0))


def ball() -> None:
    """Bounds against the closed form."""
    rows = []
    for size in (1, 3, 12):
        flow = dg.worlds.gaussian(np.zeros(size), 1.5 * np.eye(size), log_snr=(-12.0, 10.0))
        y = np.random.default_rng(size).normal(size=(2, size))
        a, b = dg.spacetime.point(flow, y[0], 2.5), dg.spacetime.point(flow, y[1], 4.0)
        truth = float(dg.spacetime.gaussian_distance(a, b, 0.0, 1.5))
        for segments in (8, 16, 32):
            free = dg.geodesic(flow, a, b, segments=segments, span="free", iterations=40)
            plane = dg.geodesic(flow, a, b, segments=segments)
            excess = float(free.bound) - truth
            cells = f"{truth:.4f}", f"{float(free.bound):.4f}", f"{excess * segments**2:.3f}"
            rows.append((size, segments, *cells, f"{float(plane.bound):.4f}"))
    heads = ["D", "chords", "distance", "bound, free", "n^2 (bound - distance)", "bound, plane"]
    write("ball", heads, rows)


def flows() -> None:
    """The probability flow against the geodesic of its ends, in length."""
    rows = []
    for size in (2, 12):
        flow = mixture(size)
        for seed in range(3):
            latent = dg.latent(flow, jax.random.key(seed))
            levels = jnp.linspace(-2.0, 5.0, 65)
            start = dg.sample(
                flow.replace(interval=(flow.interval[0], levels[0])), latent, divergence=None
            ).x

            def step(y: Any, ends: Any, flow: dg.Flow = flow) -> Any:
                part = flow.replace(interval=(ends[0], ends[1]))
                x = present_alpha(flow, ends[0]) * y
                y = dg.sample(part, x, divergence=None, steps=8).x
                return y, y

            _, rest = jax.lax.scan(step, start, jnp.stack([levels[:-1], levels[1:]], axis=1))
            curve = Point(jnp.concatenate([start[None], rest]), levels)
            followed = dg.spacetime.curve_energy(flow, curve)
            a, b = (jax.tree.map(lambda v, i=i: v[i], curve) for i in (0, -1))
            short = dg.geodesic(flow, a, b, segments=64, span="free", iterations=60)
            longer = float(followed.length) / float(short.length) - 1.0
            rows.append(
                (
                    size,
                    seed,
                    f"{float(followed.length):.4f}",
                    f"{float(short.length):.4f}",
                    f"{100 * longer:.2f}",
                    f"{float(followed.energy / short.energy):.3f}",
                )
            )
    heads = ["D", "seed", "length of the flow", "of the geodesic", "% longer", "ratio of energies"]
    write("flows", heads, rows)


def present_alpha(flow: dg.Flow, level: Any) -> Any:
    """alpha at a level."""
    assert flow.path is not None
    return flow.path.alpha(level)


def samples(flow: dg.Flow, count: int, steps: int) -> Any:
    """Samples of the flow itself [count, *shape]."""

    @jax.jit
    def draw(keys: Any) -> Any:
        def one(key: Any) -> Any:
            return dg.sample(flow, dg.latent(flow, key), divergence=None, steps=steps).x

        return jax.lax.map(one, keys, batch_size=8)

    return draw(jax.random.split(jax.random.key(SEED), count))


def ssim(a: np.ndarray, b: np.ndarray, span: float = 2.0) -> float:
    """Structural similarity over the whole picture as one window (Wang et al., 2004)."""
    a, b = a.ravel(), b.ravel()
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    covariance = np.mean((a - a.mean()) * (b - b.mean()))
    top = (2 * a.mean() * b.mean() + c1) * (2 * covariance + c2)
    return float(top / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (a.var() + b.var() + c2)))


@partial(jax.jit, static_argnames=("trace", "steer", "closure"))
def geodesics(
    flow: dg.Flow, a: Any, b: Any, keys: Any, trace: Any, steer: Any, closure: Any
) -> Any:
    """Geodesics of pairs, one after the other."""

    def one(args: Any) -> Any:
        a, b, key = args
        return dg.geodesic(
            flow, a, b, divergence=trace, steer=steer, closure_steps=closure, key=key
        )

    return jax.lax.map(one, (a, b, keys))


def pairs(x: Any, level: float) -> tuple[Point, Point]:
    """Neighbours in the order of the samples."""
    half = x.shape[0] // 2
    levels = jnp.full((half,), level, x.dtype)
    return Point(x[:half], levels), Point(x[half:], levels)


def digits() -> None:
    """Distances of pairs of digits against what else measures likeness."""
    flow = dg.models.load("digits8")
    x = samples(flow, 2 * PAIRS, 64)
    a, b = pairs(x, 3.0)
    keys = jax.random.split(jax.random.key(1), PAIRS)
    out = geodesics(flow, a, b, keys, dg.exact(), dg.hutchinson(4), 48)
    left, right = np.asarray(a.y), np.asarray(b.y)
    euclid = np.sqrt(np.sum((left - right) ** 2, axis=(1, 2, 3)))
    alike = np.asarray([ssim(p, q) for p, q in zip(left, right, strict=True)])
    bound, closure = np.asarray(out.bound), np.asarray(out.closure)
    rows = [
        (
            "bound, median (range)",
            f"{np.median(bound):.2f} ({bound.min():.2f} to {bound.max():.2f})",
        ),
        ("rank correlation of bound with Euclidean distance", f"{spearman(bound, euclid):+.2f}"),
        ("rank correlation of bound with SSIM", f"{spearman(bound, alike):+.2f}"),
        (
            "rank correlation of Euclidean distance with lowest log-SNR",
            f"{spearman(euclid, np.asarray(out.lowest)):+.2f}",
        ),
        (
            "rank correlation of bound with lowest log-SNR",
            f"{spearman(bound, np.asarray(out.lowest)):+.2f}",
        ),
        ("pairs with a negative chord", f"{int((np.asarray(out.negative) > 0).sum())} of {PAIRS}"),
        ("largest 2 E / L^2 - 1", f"{np.max(np.asarray(out.speed)) - 1.0:.4f}"),
        ("energy by that of the arc, median", f"{np.median(out.energy / out.start_energy):.3f}"),
        ("closure, root mean square (nats)", f"{np.sqrt(np.mean(closure**2)):.2f}"),
        (
            "change of log p between the ends, root mean square (nats)",
            f"{np.sqrt(np.mean(np.asarray(out.log_density_change)[:, -1] ** 2)):.2f}",
        ),
    ]
    write("digits", ["24 pairs of digits8, log-SNR 3, 16 chords", ""], rows)


def anchors() -> None:
    """The same pairs from other noise levels: rank order, and the constant."""
    flow = dg.models.load("digits8")
    x = samples(flow, 2 * PAIRS, 64)
    keys = jax.random.split(jax.random.key(1), PAIRS)
    found = {}
    for level in (2.0, 3.0, 4.0, 5.0):
        a, b = pairs(x, level)
        out = geodesics(flow, a, b, keys, dg.hutchinson(4), None, None)
        found[level] = out
    rows = []
    for level, out in found.items():
        bound = np.asarray(out.bound)
        rows.append(
            (
                level,
                f"{np.median(bound):.2f}",
                f"{np.median(bound) - 2 * 32**0.5 * level:.2f}",
                f"{spearman(bound, np.asarray(found[3.0].bound)):+.3f}",
                int((np.asarray(out.status) & int(dg.Status.NEGATIVE) > 0).sum()),
            )
        )
    heads = ["log-SNR of the ends", "median bound", "less 2 sqrt(D / 2) log-SNR"]
    write(
        "anchors", [*heads, "rank correlation with log-SNR 3", "pairs with negative chords"], rows
    )


def emoji(count: int = 4) -> None:
    """The same on pictures of 3072 dimensions."""
    flow = dg.models.load("emoji32")
    x = samples(flow, 2 * count, 32)
    a, b = pairs(x, 3.0)
    keys = jax.random.split(jax.random.key(1), count)
    out = geodesics(flow, a, b, keys, dg.hutchinson(4), dg.hutchinson(2), 32)
    rows = []
    for i in range(count):
        gap = float(jnp.linalg.norm(a.y[i] - b.y[i]))
        rows.append(
            (
                i,
                f"{gap:.1f}",
                f"{float(out.bound[i]):.2f} +- {float(out.standard_error[i]):.2f}",
                f"{float(out.speed[i]) - 1:.4f}",
                f"{float(out.lowest[i]):.2f}",
                f"{int(out.negative[i])} of 16",
                f"{float(out.closure[i]):.0f} +- {float(out.closure_error[i]):.0f}",
                f"{float(out.log_density_change[i, -1]):.0f}",
            )
        )
    heads = ["pair", "Euclidean", "bound", "2 E / L^2 - 1", "lowest log-SNR", "negative chords"]
    write("emoji", [*heads, "closure (nats)", "change of log p (nats)"], rows)


def cost() -> None:
    """Evaluations, tangents and seconds of one pair of 32 x 32 x 3 pictures."""
    flow = dg.models.load("emoji32")
    x = samples(flow, 2, 16)
    a, b = (dg.spacetime.point(flow, one, 3.0) for one in x)
    options = {"divergence": dg.hutchinson(2), "key": jax.random.key(0)}
    calls = {
        "curve_energy of the arc": lambda: dg.spacetime.curve_energy(
            flow, dg.spacetime.arc(flow, a, b), **options
        ),
        "geodesic": lambda: dg.geodesic(flow, a, b, **options),
    }
    rows = []
    for name, call in calls.items():
        times = []
        for _ in range(3):
            started = time.perf_counter()
            out = jax.block_until_ready(call())
            times.append(time.perf_counter() - started)
        cells = int(out.evaluations), int(out.tangents), f"{times[0] - min(times):.0f}"
        rows.append((name, *cells, f"{min(times):.1f}"))
    write("cost", ["what", "evaluations", "tangents", "s to compile", "s again"], rows)


def main(*names: str) -> None:
    """The named tables, or all."""
    known = {f.__name__: f for f in (ball, flows, digits, anchors, emoji, cost)}
    for name in names or tuple(known):
        known[name]()


if __name__ == "__main__":
    main(*sys.argv[1:])
