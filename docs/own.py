"""The first picture of README: pictures that the model has not seen, made less and more likely.

``python docs/own.py`` writes docs/own-pictures.png, in about four minutes on two cores. The
rows are six of the 368 held-out tiles, chosen by eye for being known at a glance; rows that nobody
chose are in docs/dial-strip.png. The number below a picture is its own log p, measured by encoding
it again.
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

QUANTILES = (0.05, 0.2, 0.5, 0.7, 0.85)
NOTE = (
    "q is where the dial stands; at 0.5 nothing is asked for, and the picture comes back. Below "
    "each picture stands how likely the model finds it, measured: fewer bits are more likely."
)
CHOSEN = (52, 18, 114, 230, 2, 367)  # frog, fountain, strawberry, wall, stones, cat


def draw(
    flow: dg.Flow, pictures: np.ndarray, quantiles: tuple[float, ...], steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [q, n, H, W, C] of uint8 [n, H, W, C], their measured bits/dim and its
    half-width [q, n]."""

    def one(flow: dg.Flow, x: jax.Array, key: jax.Array, q: jax.Array) -> tuple[jax.Array, ...]:
        out = dg.edit(
            flow,
            x,
            guidance=dg.quantile(q),
            divergence=dg.orthogonal(2),
            key=key,
            steps=steps,
        )
        bits = flow.transform.bits_per_dim(out.log_density, flow.size)
        return flow.transform.inverse(out.x), bits, out.total_error / dg.nats(flow, 1.0)

    keys = jax.random.split(jax.random.key(0), (2, len(pictures)))
    x = jax.vmap(flow.transform)(jnp.asarray(pictures), keys[0])
    column = jax.jit(jax.vmap(one, in_axes=(None, 0, 0, None)))
    columns = [
        jax.tree.map(np.asarray, column(flow, x, keys[1], jnp.float32(q))) for q in quantiles
    ]
    return tuple(np.stack(parts) for parts in zip(*columns, strict=True))


def page(pictures: np.ndarray, images: np.ndarray, bits: np.ndarray) -> Image.Image:
    """The picture: what was given, then a column for each q."""
    heads = [(f"q = {q:g}", *(["nothing asked"] if q == 0.5 else [])) for q in QUANTILES]
    captions = [[f"{value:.1f} bits/dim" for value in row] for row in bits.T]
    return plotting.dial_strip(
        list(images), heads, 256, given=pictures, captions=captions, note=NOTE
    )


def main() -> None:
    dg.xla.prepare()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("own-pictures.png"))
    options = parser.parse_args()
    pictures = np.asarray(dg.data.load("tiles32").heldout)[list(CHOSEN)]
    images, bits, error = draw(dg.models.load("tiles32"), pictures, QUANTILES, options.steps)
    page(pictures, images, bits).save(options.out, optimize=True)
    rising = (np.diff(bits, axis=0) < 0).all(axis=0).sum()
    print(f"log p rises with q in every step for {rising} of {len(pictures)} rows")
    print(f"widest 95 % half-width {error.max():.2f} bits/dim; {options.out}")


if __name__ == "__main__":
    main()
