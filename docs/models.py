"""The page of shipped models: what each was trained on, how good it is, and how it looks.

``python docs/models.py`` writes docs/models.md and a sheet for each model of pictures under
docs/models, in about ten minutes on two cores. Figures come from the models' cards, and log p is
measured here.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import densityguide as dg
from densityguide.models import pretrained
from densityguide.models.card import Card
from densityguide.plotting import pages

HERE = Path(__file__).parent
COUNT, STEPS, BLOCK = 64, 48, 8
ROWS, COLUMNS, SIDE, GAP, APART = 4, 8, 64, 6, 32
LEVELS = (-3.0, 1.0, 5.0)  # log-SNR at which errors are shown
WORDS = {
    "variance_preserving": "VP diffusion",
    "variance_exploding": "VE diffusion (EDM)",
    "linear": "flow matching",
}


def measured(flow: dg.Flow, data: dg.data.Dataset) -> dict[str, Any]:
    """Bits/dim (nats of points) of held-out data and of the model's own samples, and these."""
    trace = dg.exact() if flow.size <= 64 else dg.orthogonal(2)

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_latent, key_solve = jax.random.split(key)
        latent = dg.latent(flow, key_latent)
        out = dg.sample(flow, latent, divergence=trace, key=key_solve, steps=STEPS)
        return out.x, out.log_density

    def encode(x: jax.Array, key: jax.Array) -> jax.Array:
        key_noise, key_solve = jax.random.split(key)
        y = x if flow.transform is None else flow.transform(x, key_noise)
        return dg.log_density(flow, y, divergence=trace, key=key_solve, steps=STEPS).value

    def scaled(nats: np.ndarray) -> np.ndarray:
        transform = flow.transform
        return nats if transform is None else np.asarray(transform.bits_per_dim(nats, flow.size))

    keys = jax.random.split(jax.random.key(0), (2, COUNT))
    places = np.linspace(0, len(data.heldout) - 1, COUNT).round().astype(int)
    unseen = np.asarray(data.heldout[places])
    x, own = jax.jit(lambda keys: jax.lax.map(sample, keys, batch_size=BLOCK))(keys[0])
    others = jax.jit(lambda pair: jax.lax.map(lambda one: encode(*one), pair, batch_size=BLOCK))(
        (jnp.asarray(unseen), keys[1])
    )
    drawn = x if flow.transform is None else flow.transform.inverse(x)
    return {
        "own": _mean(scaled(np.asarray(own))),
        "heldout": _mean(scaled(np.asarray(others))),
        "samples": np.asarray(drawn),
        "unseen": unseen,
    }


def _mean(values: np.ndarray) -> str:
    error = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.2f} ± {error:.2f}"


def sheet(unseen: np.ndarray, samples: np.ndarray, levels: int) -> Image.Image:
    """Held-out pictures on the left, the model's own on the right."""
    cell = SIDE + GAP
    block = COLUMNS * cell
    page = Image.new("RGB", (2 * block + APART, ROWS * cell + 28), pages.PAPER)
    pen = pages.ImageDraw.Draw(page)
    for left, title, images in (
        (0, "held-out pictures", unseen),
        (block + APART, "its own", samples),
    ):
        pen.text((left, 4), title, pages.INK, pages.font(16))
        for n, image in enumerate(images[: ROWS * COLUMNS]):
            at = (left + n % COLUMNS * cell, 28 + n // COLUMNS * cell)
            page.paste(pages.tile(image, levels, SIDE), at)
    return page


def seen(card: Card) -> str:
    """Pictures in training: of all runs where the card's words tell of several."""
    told = re.search(r"Seen: ([\d,]+) pictures", card.description)
    return told[1] if told else f"{card.training['steps'] * card.training['batch']:,}"


def row(card: Card, flow: dg.Flow, found: dict[str, Any]) -> list[str]:
    """A model's line of the table."""
    errors = card.evaluation["heldout_error_of_x0"]
    ratios = {one["log_snr"]: one["ratio"] for one in errors}
    dial = None if flow.calibration is None else flow.calibration.dial
    return [
        f"`{card.name}`",
        f"{WORDS[card.path]}, {card.network['kind']}",
        f"{card.parameters / 1e6:.2g} M",
        seen(card),
        *(f"{ratios[level]:.2f}" if level in ratios else "-" for level in LEVELS),
        found["heldout"],
        found["own"],
        "-" if dial is None else f"{float(dial[0]):g} to {float(dial[1]):g}",
    ]


HEADS = (
    *("model", "kind", "weights", "seen in training"),
    *(f"error at log-SNR {level:g}" for level in LEVELS),
    *("held-out", "its own samples", "dial"),
)
TEXT = f"""# Shipped models

What `dg.models.load(NAME)` and `--model NAME` know; all weights are in the package, trained on two
CPU cores unless a line says otherwise. [docs/models.py](models.py) writes this page.

*Error* says how well the network takes noise away from held-out pictures: its mean square error,
divided by that of the best linear filter (Wiener's, from the mean and the covariance of the
training data). 1 is no better than that filter, and 0 would be the picture itself. *Held-out* and
*its own samples* are bits/dim (for points in the plane log p in nats), mean ± 1.96 standard errors
over {COUNT} of them, with {STEPS} steps, exact traces up to 64 dimensions and two probes beyond:
where own samples have clearly other values than held-out data, the model has not learnt where its
data lie. *Dial* is the range of q within which measured log p rises, which `densityguide calibrate`
found; a dash stands where it was not measured.

"""


def main() -> None:
    dg.xla.prepare()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=dg.models.names(), help="models; default all")
    options = parser.parse_args()
    (HERE / "models").mkdir(exist_ok=True)
    kept = HERE / "models" / "rows.json"
    rows = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for name in options.names:
        _, _, card = pretrained.load(pretrained.folder_of(name))
        flow, data = dg.models.load(name), dg.data.load(card.data["name"])
        found = measured(flow, data)
        if flow.transform is not None:
            drawn = sheet(found["unseen"], found["samples"], data.levels)
            drawn.save(HERE / "models" / f"{name}.png", optimize=True)
        rows[name] = {"cells": row(card, flow, found), "words": card.description}
        kept.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        print(*rows[name]["cells"], sep=" | ", flush=True)
    (HERE / "models.md").write_text(page(rows), "utf-8")


def page(rows: dict[str, Any]) -> str:
    """The page of all rows."""
    names = [name for name in dg.models.names() if name in rows]
    lines = [HEADS, (":--", ":--", *["--:"] * (len(HEADS) - 2))]
    lines += [rows[name]["cells"] for name in names]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    parts = [f"## {name}\n\n{rows[name]['words']}\n" for name in names]
    for n, name in enumerate(names):
        if (HERE / "models" / f"{name}.png").exists():
            words = f"Held-out pictures beside samples of {name}"
            parts[n] += f"\n![{words}](models/{name}.png)\n"
    return TEXT + table + "\n\n" + "\n".join(parts)


if __name__ == "__main__":
    main()
