"""Writes a benchmark's table and plot into README.md beside this file."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import diffrax
import jax

__all__ = ["machine", "write"]

HERE = Path(__file__).parent


def machine() -> str:
    """Date, machine and versions, for the line under a table."""
    device = jax.devices()[0]
    kind = f"{os.cpu_count()} CPU cores" if device.platform == "cpu" else device.device_kind
    return (
        f"{date.today()}, {kind} ({platform.machine()}), Python {platform.python_version()}, "
        f"JAX {jax.__version__}, diffrax {diffrax.__version__}"
    )


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write(
    name: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[object]],
    figure: object = None,
    page: Path = HERE / "README.md",
    verb: str = "Measured",
) -> None:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->`` in ``page`` by a table
    (and ``name.png``), and print it."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --: |" * len(heads)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    if figure is not None:
        figure.savefig(HERE / f"{name}.png", dpi=110, bbox_inches="tight")
        lines += ["", f"![{name}]({name}.png)"]
    lines += ["", f"{verb} {machine()}."]
    text = "\n".join(lines)
    section = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    old = page.read_text("utf-8")
    if not re.search(section, old, re.DOTALL):
        raise ValueError(f"{page} has no section <!-- {name} --> ... <!-- /{name} -->: add one")
    page.write_text(re.sub(section, lambda m: m[1] + text + "\n" + m[2], old, flags=re.DOTALL))
    print(text)
