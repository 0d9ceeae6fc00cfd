"""All of it in one go, a file of results that grows, and a page of tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from densityguide.disk import atomic, folders
from studies.benchmarks import report
from studies.device import errors, speed, subjects

__all__ = ["run"]

FULL, SMALL = {"steps": 32, "size": 8192, "count": 8}, {"steps": 4, "size": 256, "count": 2}


def run(out: Path, *, small: bool = False, seconds: float = 480.0) -> dict[str, Any]:
    """Every part until ``seconds`` are over; parts that a stopped run left out come next time.

    Writes ``out``/device.json after each part, and ``out``/device.md; ValueError, one line, for a
    folder of others or one that cannot be written.
    """
    started, file = time.perf_counter(), out / "device.json"
    folders.check(out, ours=lambda folder: (folder / "device.md").is_file() or file.is_file())
    out.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0].device_kind
    found = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if found.get("device", device) != device or found.get("small", small) != small:
        raise ValueError(
            f"{file} was measured on {found['device']}{', small' * found['small']}: choose another "
            "--out"
        )
    found |= {"device": device, "small": small, "machine": report.machine()}
    parts = found.setdefault("parts", {})
    for name, measure in _parts(small):
        if name in parts or time.perf_counter() - started > seconds:
            continue
        parts[name] = measure()
        atomic.write(file, json.dumps(found, indent=1) + "\n")
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    atomic.write(out / "device.md", page(found))
    return found


def _parts(small: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is measured, the most wanted first."""
    sizes = SMALL if small else FULL
    chosen = subjects.SMALL if small else subjects.FULL
    for name in ("spiral2d",) if small else ("digits8", "emoji32"):
        yield (
            f"errors, {name}",
            lambda name=name: errors.rows(name, sizes["count"], sizes["steps"]),
        )
    first = chosen[0]
    yield (
        "repeatable",
        lambda: [errors.repeatable(first.name, first.batch, sizes["steps"])],
    )
    for subject in chosen:
        yield (
            f"speed, {subject.name}",
            lambda subject=subject: speed.rows(subject, sizes["steps"], sizes["size"]),
        )


TITLES = {
    "errors": "Log p by the precision of products, against float64 on the CPU with the same probes",
    "repeatable": "Equal bits",
    "speed": "Throughput",
}


def page(found: dict[str, Any]) -> str:
    """Tables of what was measured so far."""
    lines = ["# Figures of a device", "", f"Measured {found['machine']}: {found['device']}."]
    for kind, title in TITLES.items():
        rows = [
            row for name, part in found["parts"].items() if name.startswith(kind) for row in part
        ]
        if not rows:
            continue
        heads = list(rows[0])
        lines += ["", f"## {title}", "", "| " + " | ".join(heads) + " |"]
        lines += ["| :-- |" + " --: |" * (len(heads) - 1)]
        lines += ["| " + " | ".join(_cell(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
