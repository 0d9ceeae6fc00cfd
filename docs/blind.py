"""A sheet for the eye: which pictures were asked to have more detail, and which less?

``python docs/blind.py`` writes blind.png and blind-answers.md under docs/evidence, in
about a minute on two cores. Two latents of each class of tiles32, none left out, are decoded at two
values of q; their pictures come in random order.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase

import numpy as np
import strip
from PIL import Image

import densityguide as dg
from densityguide.plotting import pages

QUANTILES, SEEDS, COLUMNS, SIDE = (0.35, 0.65), (1, 2), 9, 96
OUT = Path(__file__).parent / "evidence"
WORDS = {0.35: "more", 0.65: "less"}


def names(count: int) -> list[str]:
    """A1 to A9, B1 to B9 and so on, row by row."""
    return [f"{ascii_uppercase[n // COLUMNS]}{n % COLUMNS + 1}" for n in range(count)]


def sheet(images: np.ndarray) -> Image.Image:
    """Pictures [n, H, W, C] with their names, and nothing else."""
    cell, rows = SIDE + 34, -(-len(images) // COLUMNS)
    page, pen = pages.blank(
        2 * pages.MARGIN + COLUMNS * cell,
        pages.HEAD + rows * cell + pages.FOOT,
        "More detail, or less?",
        "Every latent is here twice, once asked for each. Decide for every picture.",
        "Which is which is on the page of answers.",
    )
    for n, (image, name) in enumerate(zip(images, names(len(images)), strict=True)):
        left = pages.MARGIN + n % COLUMNS * cell
        top = pages.HEAD + 10 + n // COLUMNS * cell
        page.paste(pages.tile(image, 256, SIDE), (left, top))
        pen.text((left, top + SIDE + 4), name, pages.INK, pages.font(16))
    return page


def shuffled(count: int) -> np.ndarray:
    """The order of the sheet."""
    return np.random.default_rng(0).permutation(count)


def answers(quantiles: np.ndarray, latents: np.ndarray, bits: np.ndarray) -> str:
    """The table of who is who, in the order of the sheet."""
    heads = "| picture | detail asked for | q | measured bits/dim | latent |"
    line = "| :-- | :-- | --: | --: | --: |"
    rows = [
        f"| {name} | {WORDS[float(q)]} | {q:g} | {b:.2f} | {latent} |"
        for name, q, b, latent in zip(names(len(bits)), quantiles, bits, latents, strict=True)
    ]
    return "\n".join([heads, line, *rows])


def main() -> None:
    dg.xla.prepare()
    flow, classes = dg.models.load("tiles32"), len(dg.data.load("tiles32").classes)
    drawn = [strip.draw(flow, classes, QUANTILES, 64, seed) for seed in SEEDS]
    images, bits = (np.concatenate(part) for part in list(zip(*drawn, strict=True))[:2])
    count = bits.size
    order = shuffled(count)
    latents, quantiles = np.divmod(order, len(QUANTILES))
    sheet(images.reshape(count, *images.shape[2:])[order]).save(OUT / "blind.png", optimize=True)
    asked = np.asarray(QUANTILES)[quantiles]
    table = answers(asked, latents + 1, bits.reshape(count)[order])
    (OUT / "blind-answers.md").write_text(f"# Answers to the blind sheet\n\n{table}\n", "utf-8")


if __name__ == "__main__":
    main()
