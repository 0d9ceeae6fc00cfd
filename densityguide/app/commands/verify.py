"""``densityguide verify``: is a model wired up right?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.text import Text

from densityguide.app import requests, source, summary
from densityguide.app.commands import blocks, inputs, tables
from densityguide.app.names import shown
from densityguide.app.requests import Request
from densityguide.verify import verify

__all__ = ["run", "show"]

COUNT, STEPS = 64, 24


def run(request: Request, data: Sequence[Path], array: str | None) -> dict[str, Any]:
    """The checks as a record; ValueError or FileNotFoundError, one line, for bad input."""
    requests.check(request)
    loaded = source.load(request.model, request.condition)
    count = COUNT if request.count is None else request.count
    steps = STEPS if request.steps is None else request.steps
    requests.check_range("--count", count, 8, 1_000_000)
    given = None
    if data:
        some = inputs.open_inputs(data, array, loaded, request.count).first(count)
        if some.count < 8:
            raise ValueError(f"--data must hold at least 8 samples, got {some.count}")
        keys = blocks.sample_keys(request.seed, 0, some.count)
        given = jnp.asarray(inputs.on_model_scale(some, loaded, keys))
    elif array is not None:
        raise ValueError("--array belongs to --data: give both, or neither")
    key = jax.random.key(request.seed)
    found = verify(loaded.flow, key, data=given, count=count, steps=steps)
    return summary.heading(loaded) | {
        "settings": {
            "count": count,
            "seed": request.seed,
            "steps": steps,
            "data": [str(path) for path in data] or None,
        },
        "passed": found.passed,
        "checks": [check._asdict() for check in found.checks],
        "advice": list(found.advice),
    }


def show(console: Console, report: dict[str, Any]) -> None:
    """Print one row a check, then what to do."""
    settings = report["settings"]
    against = ", ".join(map(shown, settings["data"])) if settings["data"] else "its own samples"
    console.print(
        f"{shown(report['model']['name'])}: {settings['count']} samples, seed {settings['seed']}, "
        f"{settings['steps']} steps, against {against}"
    )
    marks = {True: Text("pass"), False: Text("FAIL", "bold red"), None: Text("-")}
    table = tables.new("check", "", "seen", "expected", words=("check", "", "seen", "expected"))
    for check in report["checks"]:
        table.add_row(check["name"], marks[check["passed"]], check["seen"], check["expected"])
    console.print(table)
    for hint in report["advice"]:
        console.print(f"Likely mistake: {hint}", style="yellow")
    if not report["passed"] and not report["advice"]:
        console.print("The wiring is suspect.", style="yellow")
