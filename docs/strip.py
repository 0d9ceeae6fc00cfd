"""The picture of README: one latent a row, from the smallest requested log-density to the largest.

``python docs/strip.py`` writes docs/dial-strip.png, in about two minutes on two cores. The rows are
the first latent of each class of tiles32 under seed 0, none left out. The number above a column is
the mean of its pictures' own log p, measured by encoding each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import densityguide as dg
from densityguide import plotting

QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)


def draw(
    flow: dg.Flow, classes: int, quantiles: tuple[float, ...], steps: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [classes, q, H, W, C], their measured bits/dim and its half-width."""

    def one(flow: dg.Flow, label: jax.Array, q: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        told, (key_latent, key_solve) = flow.given(label, calibration=None), jax.random.split(key)
        out = dg.sample(
            told,
            dg.latent(told, key_latent),
            guidance=dg.quantile(q),
            divergence=dg.orthogonal(2),
            key=key_solve,
            steps=steps,
        )
        bits = flow.transform.bits_per_dim(out.log_density, flow.size)
        error = out.total_error / (flow.size * jnp.log(2.0))
        return flow.transform.inverse(out.x), bits, error

    labels = jnp.arange(classes)
    keys = jax.vmap(lambda n: jax.random.fold_in(jax.random.key(seed), n))(labels)
    column = jax.jit(jax.vmap(one, in_axes=(None, 0, None, 0)))
    columns = [
        jax.tree.map(np.asarray, column(flow, labels, jnp.float32(q), keys)) for q in quantiles
    ]
    return tuple(np.stack(parts, axis=1) for parts in zip(*columns, strict=True))


def page(images: np.ndarray, names: tuple[str, ...], bits: np.ndarray) -> Image.Image:
    """The picture: a column for each q and a row for each latent."""
    heads = [
        (f"q = {q:g}" + (", plain" if q == 0.5 else ""), f"{bits[:, n].mean():.1f} bits/dim")
        for n, q in enumerate(QUANTILES)
    ]
    return plotting.dial_strip(list(np.swapaxes(images, 0, 1)), heads, 256, names=names)


def main() -> None:
    dg.xla.prepare()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "dial-strip.png")
    options = parser.parse_args()
    names = dg.data.load("tiles32").classes
    flow = dg.models.load("tiles32")
    images, bits, error = draw(flow, len(names), QUANTILES, options.steps)
    page(images, names, bits).save(options.out, optimize=True)
    rising = (np.diff(bits, axis=1) < 0).all(axis=1).sum()
    print(f"log p rises with q in every step for {rising} of {len(names)} rows")
    print(f"widest 95 % half-width {error.max():.2f} bits/dim; {options.out}")


if __name__ == "__main__":
    main()
