"""``densityguide calibrate``: what a model's folder holds of measurements, derived anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from densityguide.app import requests, source, summary
from densityguide.app.commands import tables
from densityguide.density.bits import nats
from densityguide.density.trace import Trace
from densityguide.disk import atomic
from densityguide.disk.interrupts import interruptible
from densityguide.flow.flow import Flow
from densityguide.models import calibrations, card
from densityguide.verify.measures import Measures, measures

__all__ = ["run", "show"]

Begin = Callable[[int], Callable[[], None]]


def run(
    folder: Path, samples: int, latents: int, classes: bool, seed: int, progress: Begin
) -> dict[str, Any]:
    """Measure, write ``calibration.safetensors`` and ``card.json`` into the folder, and report;
    both are renamed into place at the end, and nothing changes before.

    ValueError or FileNotFoundError, one line, for a bad folder or number; Preempted at SIGTERM.
    """
    requests.check_range("--samples", samples, 8, 1_000_000)
    requests.check_range("--latents", latents, 4, 1_000_000)
    requests.check_range("--seed", seed, 0, 2**32 - 1)
    before = card.read(folder / "card.json")
    loaded = source.load(str(folder.absolute()))  # not the shipped model of that name
    flow = loaded.flow
    told = [None] if not classes or flow.classes is None else list(flow.classes)
    trace = requests.trace_of(flow)
    # A folder that cannot be written is found before the hour, not after it.
    with interruptible(), atomic.place(folder, calibrations.FILE, "card.json") as place:
        found = _measured(flow, trace, samples, latents, classes, seed, progress)
        measured = summary.plain(_told(flow, trace, told, found)) | {
            "samples": samples,
            "latents": latents,
            "seed": seed,
        }
        now = card.read(folder / "card.json")
        if now.sha256 != before.sha256:
            raise ValueError(
                f"the weights in {folder} were replaced meanwhile, and what was measured is of the "
                "old ones: calibrate again"
            )
        calibrations.write(place, found.calibrations)
        card.write(place / "card.json", dataclasses.replace(now, measured=measured))
    return {
        "model": {"name": loaded.name, "shape": list(flow.shape)},
        "measured": measured,
        "files": [str(folder / name) for name in (calibrations.FILE, "card.json")],
    }


def _measured(
    flow: Flow,
    trace: Trace,
    samples: int,
    latents: int,
    classes: bool,
    seed: int,
    progress: Begin,
) -> Measures:
    tick: list[Callable[[], None]] = []

    def on(done: int, total: int) -> None:
        if not tick:
            tick.append(progress(total))
        tick[0]()

    return measures(
        flow,
        jax.random.key(seed),
        count=samples,
        latents=latents,
        classes=classes,
        divergence=trace,
        progress=on,
    )


def _told(flow: Flow, trace: Trace, told: list[Any], found: Measures) -> dict[str, Any]:
    """For the card: rounded, as JSON."""
    dials = [
        {
            **({} if label is None else {"class": label}),
            "low": round(float(one.dial[0]), 4),
            "high": round(float(one.dial[1]), 4),
            "q": [float(q) for q in seen.values],
            "log_density_nats": [round(float(value), 3) for value in seen.log_density],
        }
        for label, one, seen in zip(told, found.calibrations, found.ranges, strict=True)
        if one.dial is not None
    ]
    unit = "nats" if flow.transform is None else "bits/dim"
    each = 1.0 if flow.transform is None else float(nats(flow, 1.0))
    return {
        "trace": requests.trace_name(trace),
        "dial": dials,
        "steps": list(found.steps),
        "unit": unit,
        "solver_error": [float(f"{value / each:.3g}") for value in found.solver_error],
    }


def show(console: Console, report: dict[str, Any]) -> None:
    """The range of the dial of each class, and the solver's error by steps."""
    measured = report["measured"]
    console.print(f"{report['model']['name']}: {measured['samples']:,} samples a calibration")
    dials = measured["dial"]
    table = tables.new("class", "measured log p rises for q in", "log p there, nats")
    for row in dials:
        low, high = row["low"], row["high"]
        ends = [row["log_density_nats"][row["q"].index(q)] for q in (low, high)]
        name = {None: "-", -1: "none"}.get(row.get("class"), str(row.get("class")))
        there = " .. ".join(tables.number(end, 1) for end in ends)
        table.add_row(name, *((f"{low:g} .. {high:g}", there) if low < high else ("none", "")))
    console.print(table)
    steps = tables.new("steps", f"solver's error of log p, {measured['unit']}")
    for count, error in zip(measured["steps"], measured["solver_error"], strict=True):
        steps.add_row(str(count), "-" if error is None else f"{error:g}")
    console.print(steps)
    tables.wrote(console, [Path(name) for name in report["files"]])
