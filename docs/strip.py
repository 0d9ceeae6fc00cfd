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
from PIL import Image, ImageDraw, ImageFont

import densityguide as dg

PAPER, INK, SOFT, LINE = (250, 250, 248), (28, 30, 34), (112, 116, 124), (37, 99, 171)
SIDE, GAP, LEFT, TOP, MARGIN = 96, 4, 92, 118, 20
QUANTILES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)


def draw(
    flow: dg.Flow, classes: int, quantiles: tuple[float, ...], steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [classes, q, H, W, C], their measured bits/dim and its half-width."""

    def one(flow: dg.Flow, label: jax.Array, q: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        told, (key_latent, key_solve) = flow.given(label), jax.random.split(key)
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
    keys = jax.vmap(lambda n: jax.random.fold_in(jax.random.key(0), n))(labels)
    column = jax.jit(jax.vmap(one, in_axes=(None, 0, None, 0)))
    columns = [
        jax.tree.map(np.asarray, column(flow, labels, jnp.float32(q), keys)) for q in quantiles
    ]
    return tuple(np.stack(parts, axis=1) for parts in zip(*columns, strict=True))


def page(
    images: np.ndarray, names: tuple[str, ...], quantiles: tuple[float, ...], bits: np.ndarray
) -> Image.Image:
    """The picture: words on top, then a column for each q and a row for each latent."""
    rows, columns = images.shape[:2]
    wide = LEFT + columns * (SIDE + GAP) + MARGIN
    sheet = Image.new("RGB", (wide, TOP + rows * (SIDE + GAP) + MARGIN), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default
    left, right = LEFT, wide - MARGIN - GAP
    pen.text((left, 12), "less likely: more detail", INK, font(22))
    pen.text((right, 12), "more likely: smoother", INK, font(22), anchor="ra")
    pen.line((left, 52, right, 52), LINE, 3)
    pen.polygon([(right + 2, 52), (right - 12, 45), (right - 12, 59)], LINE)
    for column, q in enumerate(quantiles):
        middle = LEFT + column * (SIDE + GAP) + SIDE // 2
        plain = ", plain" if q == 0.5 else ""
        pen.text((middle, 68), f"q = {q:g}{plain}", INK, font(16), anchor="ma")
        words = f"{bits[:, column].mean():.1f} bits/dim"
        pen.text((middle, 91), words, SOFT, font(14), anchor="ma")
    for row, name in enumerate(names):
        y = TOP + row * (SIDE + GAP)
        pen.text((LEFT - 10, y + SIDE // 2), name, SOFT, font(16), anchor="rm")
        for column in range(columns):
            tile = Image.fromarray(images[row, column]).resize(
                (SIDE, SIDE), Image.Resampling.NEAREST
            )
            sheet.paste(tile, (LEFT + column * (SIDE + GAP), y))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "dial-strip.png")
    options = parser.parse_args()
    names = dg.data.load("tiles32").classes
    flow = dg.models.load("tiles32")
    images, bits, error = draw(flow, len(names), QUANTILES, options.steps)
    page(images, names, QUANTILES, bits).save(options.out, optimize=True)
    rising = (np.diff(bits, axis=1) < 0).all(axis=1).sum()
    print(f"log p rises with q in every step for {rising} of {len(names)} rows")
    print(f"widest 95 % half-width {error.max():.2f} bits/dim; {options.out}")


if __name__ == "__main__":
    main()
