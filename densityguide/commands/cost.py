"""``densityguide cost``: what ``sample`` with the same options will take, before it starts."""

from __future__ import annotations

from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from densityguide import guidance
from densityguide.commands import draw, requests, source
from densityguide.commands.requests import Request
from densityguide.cost import cost

__all__ = ["run", "show"]


def run(request: Request) -> dict[str, Any]:
    """The report; ValueError or FileNotFoundError, one line, for what ``sample`` would refuse."""
    requests.check(request)
    loaded = source.load(request.model, request.condition)
    flow, settings = loaded.flow, requests.settings(request, loaded)
    trace = draw.choose_trace(flow)
    found = cost(
        flow,
        guidance=guidance.quantile(settings.q[0]),
        divergence=trace,
        batch=settings.block,
        steps=settings.steps,
        solver=settings.solver,
    )
    blocks = settings.blocks * len(settings.q)
    samples = blocks * settings.block  # the last block of a row may be longer than asked for
    return {
        "model": loaded.name,
        "settings": settings.record() | {"trace": draw.trace_name(trace)},
        "samples": samples,
        "evaluations_per_sample": found.evaluations,
        "tangents_per_sample": found.tangents,
        "flops_per_evaluation": found.flops_evaluation,
        "flops_per_tangent": found.flops_tangent,
        "flops": samples * found.flops,
        "memory_bytes": found.memory,
        "compile_seconds": found.compile_seconds,
        "run_seconds": blocks * found.seconds,
        "device": jax.devices()[0].device_kind,
    }


def _scaled(value: float, unit: str) -> str:
    """1234567 -> "1.23 MFLOP"."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000.0
    return f"{value:,.0f} E{unit}"


def show(console: Console, report: dict[str, Any]) -> None:
    """Print the report as a table."""
    settings = report["settings"]
    console.print(
        f"{report['model']}: {report['samples']} samples ({settings['count']} for each of "
        f"{len(settings['q'])} q), {settings['solver']} x {settings['steps']} steps, "
        f"trace {settings['trace']}, on {report['device']}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("", "evaluations", "tangents", "in all"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    evaluations, tangents = report["evaluations_per_sample"], report["tangents_per_sample"]
    table.add_row("each sample", f"{evaluations:,}", f"{tangents:,}", "")
    table.add_row(
        "one of them",
        _scaled(report["flops_per_evaluation"], "FLOP"),
        _scaled(report["flops_per_tangent"], "FLOP"),
        "",
    )
    table.add_row(
        "all samples",
        f"{report['samples'] * evaluations:,}",
        f"{report['samples'] * tangents:,}",
        _scaled(report["flops"], "FLOP"),
    )
    console.print(table, highlight=False)
    console.print(
        f"Memory: {_scaled(report['memory_bytes'], 'B')}. "
        f"Seconds: about {report['run_seconds']:.1f} to run, and {report['compile_seconds']:.1f} "
        "to compile, or to find it in the cache.",
        highlight=False,
    )
