"""``densityguide verify``: is a model wired up right?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.text import Text

from densityguide.app import requests, source, summary
from densityguide.app.commands import blocks, inputs, tables
from densityguide.app.names import shown
from densityguide.app.requests import Request
from densityguide.verify import verify
from densityguide.verify.case import usual_count

__all__ = ["run", "show"]

STEPS = 24


def run(
    request: Request,
    data: Sequence[Path],
    array: str | None,
    begin: Callable[[int], Callable[[], None]] = lambda total: lambda: None,
    labels: str | None = None,
) -> dict[str, Any]:
    """The checks as a record; ``begin(total)`` gives what is called after each of them, ``labels``
    names the array beside the data that holds their classes. ValueError or FileNotFoundError, one
    line, for bad input."""
    requests.check(request)
    loaded = source.load(request.model, request.condition)
    count = usual_count(loaded.flow) if request.count is None else request.count
    steps = STEPS if request.steps is None else request.steps
    requests.check_range("--count", count, 8, 1_000_000)
    given = told = None
    if labels is not None and not (len(data) == 1 and data[0].suffix.lower() == ".npz"):
        raise ValueError("--labels names an array of the one .npz file of --data: give that file")
    if data:
        some = inputs.open_inputs(data, array, loaded, request.count).first(count)
        if some.count < 8:
            raise ValueError(f"--data must hold at least 8 samples, got {some.count}")
        keys = blocks.sample_keys(request.seed, 0, some.count)
        given = jnp.asarray(inputs.on_model_scale(some, loaded, keys))
        if labels is not None:
            rows = len(inputs.read_array(data[0], array, loaded.flow.shape))
            told = _labels(data[0], labels, rows)[: some.count]
    elif array is not None:
        raise ValueError("--array belongs to --data: give both, or neither")
    key = jax.random.key(request.seed)
    ticks = functools.cache(begin)
    options: dict[str, Any] = {"data": given, "labels": told, "count": count, "steps": steps}
    found = verify(loaded.flow, key, **options, progress=lambda _, total: ticks(total)())
    return summary.heading(loaded) | {
        "settings": {
            "count": count if given is None else len(given),
            "seed": request.seed,
            "steps": steps,
            "data": [str(path) for path in data] or None,
            "labels": labels,
        },
        "passed": found.passed,
        "checks": [check._asdict() | {"verdict": check.verdict} for check in found.checks],
        "advice": list(found.advice),
        "notes": list(found.notes),
    }


def _labels(path: Path, name: str, count: int) -> np.ndarray:
    """The classes of all samples of the file."""
    found = inputs.read_array(path, name)
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"expected one whole number for each of the {count} samples in {name} of {path}, got "
            f"{found.dtype} of shape {found.shape}"
        )
    return found


def show(console: Console, report: dict[str, Any]) -> None:
    """Print one row a check, then what to do."""
    settings = report["settings"]
    against = ", ".join(map(shown, settings["data"])) if settings["data"] else "its own samples"
    console.print(
        f"{shown(report['model']['name'])}: {settings['count']} samples, seed {settings['seed']}, "
        f"{settings['steps']} steps, against {against}"
    )
    table = tables.new("check", "", "seen", "expected", words=("check", "", "seen", "expected"))
    for check in report["checks"]:
        mark = Text(check["verdict"], "bold red" if check["passed"] is False else "")
        table.add_row(check["name"], mark, check["seen"], check["expected"])
    console.print(table)
    for hint in report["advice"]:
        console.print(f"Likely mistake: {hint}", style="yellow")
    for hint in report["notes"]:
        console.print(f"Note: {hint}")
    if not report["passed"] and not report["advice"]:
        console.print("The wiring is suspect.", style="yellow")
