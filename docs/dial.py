"""The animation of README: the same latents while the requested log-density sweeps up and down.

``python docs/dial.py`` writes docs/dial.gif, in about a minute on two cores. Every frame is a solve
of its own, and nothing is blended. The number under a picture is that picture's own log p.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import densityguide as dg

PAPER, EDGE = (250, 250, 248), (226, 226, 222)
INK, SOFT, KNOB = (28, 30, 34), (112, 116, 124), (37, 99, 171)
SIDE, GAP, MARGIN, TOP, BOTTOM = 128, 8, 20, 92, 34
LOWEST, HIGHEST = 0.1, 0.9
HOLD, TICK = 1200, 180  # milliseconds: at the ends, and elsewhere


def eased(count: int) -> np.ndarray:
    """``count`` values of q that start and end slowly."""
    phase = np.cos(np.pi * np.arange(count) / (count - 1))
    return 0.5 * (LOWEST + HIGHEST) - 0.5 * (HIGHEST - LOWEST) * phase


def sweep(
    flow: dg.Flow, qs: np.ndarray, count: int, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [q, count, H, W, C], their bits/dim and its standard error [q, count]; the
    latents are those of ``densityguide sample``."""

    def one(flow: dg.Flow, q: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
        key_latent, key_solve = jax.random.split(key)
        out = dg.sample(
            flow,
            dg.latent(flow, key_latent),
            guidance=dg.quantile(q),
            divergence=dg.exact() if flow.is_small else dg.orthogonal(2),
            key=key_solve,
            steps=steps,
        )
        bits = flow.transform.bits_per_dim(out.log_density, flow.size)
        error = out.standard_error / (flow.size * jnp.log(2.0))
        return flow.transform.inverse(out.x), bits, error

    keys = jax.vmap(lambda n: jax.random.fold_in(jax.random.key(0), n))(jnp.arange(count))
    row = jax.jit(jax.vmap(one, in_axes=(None, None, 0)))
    rows = [jax.tree.map(np.asarray, row(flow, jnp.float32(q), keys)) for q in qs]
    return tuple(np.stack(parts) for parts in zip(*rows, strict=True))


def frame(images: np.ndarray, levels: int, q: float, bits: np.ndarray) -> Image.Image:
    """One page: where the dial stands, and a picture for every latent with its bits/dim."""
    wide = 2 * MARGIN + len(images) * (SIDE + GAP) - GAP
    page = Image.new("RGB", (wide, TOP + SIDE + BOTTOM), PAPER)
    pen = ImageDraw.Draw(page)
    big, small = ImageFont.load_default(24), ImageFont.load_default(15)
    pen.text((MARGIN, 14), f"q = {q:.2f}", INK, big)
    pen.text((MARGIN, 50), f"mean {bits.mean():.2f} bits/dim", INK, ImageFont.load_default(17))
    left, right, line = MARGIN + 190, wide - MARGIN - 14, 30
    place = left + (right - left) * (q - LOWEST) / (HIGHEST - LOWEST)
    pen.rounded_rectangle((left - 6, line - 3, right + 6, line + 3), 3, EDGE)
    pen.ellipse((place - 10, line - 10, place + 10, line + 10), KNOB)
    pen.text((left - 6, 52), "smaller log p, more detail", SOFT, small)
    pen.text((right + 6, 52), "larger log p, smoother", SOFT, small, anchor="ra")
    for column, (image, value) in enumerate(zip(images, bits, strict=True)):
        x = MARGIN + column * (SIDE + GAP)
        grey = np.rint(image.astype(np.float64) * (255.0 / (levels - 1))).astype(np.uint8)
        tile = Image.fromarray(grey[..., 0] if grey.shape[-1] == 1 else grey).convert("RGB")
        page.paste(tile.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, TOP))
        pen.rectangle((x - 1, TOP - 1, x + SIDE, TOP + SIDE), outline=EDGE)
        words = f"{value:.2f}" + (" bits/dim" if column == 0 else "")
        pen.text((x, TOP + SIDE + 8), words, SOFT, small)
    return page


def save(frames: list[Image.Image], path: Path) -> None:
    """Forth and back, in one palette so that nothing flickers."""
    montage = Image.new("RGB", (frames[0].width, frames[0].height * len(frames)))
    for index, page in enumerate(frames):
        montage.paste(page, (0, index * page.height))
    palette = montage.quantize(255, dither=Image.Dither.NONE)
    flat = [page.quantize(palette=palette, dither=Image.Dither.NONE) for page in frames]
    loop = flat + flat[-2:0:-1]
    durations = [HOLD if page in (flat[0], flat[-1]) else TICK for page in loop]
    loop[0].save(
        path, save_all=True, append_images=loop[1:], duration=durations, loop=0, optimize=True
    )


def main() -> None:
    dg.xla.prepare()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="emoji32", help="shipped model or model folder")
    parser.add_argument("--count", type=int, default=6, help="latents")
    parser.add_argument("--values", type=int, default=13, help="values of q")
    parser.add_argument("--steps", type=int, default=63)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "dial.gif")
    options = parser.parse_args()
    flow, qs = dg.models.load(options.model), eased(options.values)
    images, bits, error = sweep(flow, qs, options.count, options.steps)
    levels = flow.transform.levels
    pages = zip(images, qs, bits, strict=True)
    save([frame(row, levels, q, values) for row, q, values in pages], options.out)
    print(
        f"bits/dim {bits[0].mean():.3f} at q = {qs[0]:g}, {bits[-1].mean():.3f} at {qs[-1]:g}; "
        f"largest standard error {error.max():.4f}"
    )
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
