"""What a learned correction leaves of the error of a few steps, on samples it has not seen.

    python -m studies benchmark correction [MODEL ...]

Log p of a model's own samples and of held-out pictures by Adams of order 3, against 128 steps of
order 4 along the same two frozen probes. One correction is fitted to own samples, another to own
and held-out ones; both are judged by others of both kinds. Rows are kept in correction.json beside
this file, so that models can be measured one at a time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import densityguide as dg
from densityguide.density.correction import Correction, fitted
from densityguide.verify.fit_correction import Found, found_in, open_after
from studies.benchmarks import report
from studies.evidence import subjects

KEPT = Path(__file__).with_name("correction.json")
MODELS = {"digits8": 48, "fashion28": 32, "tiles32": 24, "emoji32": 24}
STEPS, ORDER, REFERENCE, SEED = (3, 7, 15), 3, 128, 11
TRACE, BATCH = dg.orthogonal(2), 8


def measured(name: str) -> list[dict[str, Any]]:
    """A row for each number of steps, kind of sample, and what the correction was fitted to."""
    subject, count = subjects.load(name), MODELS[name]
    flow, key = subject.flow, jax.random.key(SEED)
    plain = lambda flow, key: dg.sample(flow, dg.latent(flow, key), divergence=None).x  # noqa: E731
    kinds = {
        "own": subject.each(plain, jax.random.split(key, 2 * count)),
        "held-out": subject.states(subject.heldout(2 * count), SEED),
    }
    keys = jax.random.split(jax.random.key(SEED + 1), 2 * count)

    def at(steps: int, order: int) -> dict[str, Found]:
        return {
            kind: Found(
                *map(np.asarray, found_in(steps, order, flow, x, keys[: len(x)], TRACE, BATCH))
            )
            for kind, x in kinds.items()
        }

    truth = at(REFERENCE, 4)
    print(name, "reference done", flush=True)
    floor = max(open_after(long) for long in truth.values())
    rows = []
    for steps in STEPS:
        known = {kind: found.features for kind, found in at(steps, ORDER).items()}
        error = {kind: known[kind][:, 0] - truth[kind].features[:, 0] for kind in kinds}
        fits = {
            "own": fitted(flow, steps, ORDER, known["own"][::2], error["own"][::2], floor),
            "own and held-out": fitted(
                flow,
                steps,
                ORDER,
                np.concatenate([known[kind][::2] for kind in kinds]),
                np.concatenate([error[kind][::2] for kind in kinds]),
                floor,
            ),
        }
        for fit, correction in fits.items():
            for kind in kinds:
                judged = judge(correction, known[kind][1::2], error[kind][1::2], flow.size)
                rows.append({"model": name, "steps": steps, "fit": fit, "kind": kind} | judged)
                print(rows[-1], flush=True)
    return rows


def judge(
    correction: Correction, known: np.ndarray, error: np.ndarray, size: int
) -> dict[str, Any]:
    """RMS in bits/dim of all samples as they are, and of those that were corrected before and
    after; how many those are, and how many of them their bars cover."""
    found, width, near = map(np.asarray, jax.vmap(correction.error)(known))
    bits, left = size * np.log(2.0), error - found

    def rms(values: np.ndarray) -> float | None:
        return float(np.sqrt(np.mean(np.square(values))) / bits) if len(values) else None

    return {
        "n": len(error),
        "plain": rms(error),
        "near": int(near.sum()),
        "before": rms(error[near]),
        "after": rms(left[near]),
        "covered": int((np.abs(left) <= width)[near].sum()),
        "bar": float(np.median(width[near]) / bits) if near.any() else None,
    }


HEADS = [
    "model",
    "evaluations",
    "fitted to",
    "judged by",
    "n",
    "RMS as it is (bits/dim)",
    "corrected",
    "RMS of these before",
    "and after",
    "half-width of their bar",
    "covered",
]


def cells(row: dict[str, Any]) -> list[Any]:
    """A row of the table."""
    near = row["near"]
    number = lambda value: "-" if value is None else f"{value:.2g}"  # noqa: E731
    return [
        *(row["model"], row["steps"] + 1, row["fit"], row["kind"], row["n"], number(row["plain"])),
        *(f"{near} of {row['n']}", number(row["before"]), number(row["after"])),
        *(number(row["bar"]), f"{row['covered']} of {near}" if near else "-"),
    ]


if __name__ == "__main__":
    dg.xla.prepare()
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    for name in sys.argv[1:] or [name for name in MODELS if name not in kept]:
        if name not in MODELS:
            raise ValueError(f"unknown model {name!r}: choose among {', '.join(MODELS)}")
        kept[name] = measured(name)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    report.write(
        "correction",
        HEADS,
        [cells(row) for name in MODELS if name in kept for row in kept[name]],
    )
