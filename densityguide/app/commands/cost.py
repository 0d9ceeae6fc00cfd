"""``densityguide cost``: what ``sample`` with the same options will take, before it starts."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from densityguide.app import dial, requests, source, summary
from densityguide.app.commands import blocks, tables
from densityguide.app.commands.sample import default_count
from densityguide.app.requests import Request
from densityguide.steer import rules as guidance
from densityguide.verify.cost import cost

__all__ = ["run", "show"]


def run(request: Request, quantiles: tuple[float, ...] = ()) -> dict[str, Any]:
    """The report, by default for the model's usual quantiles; ValueError or FileNotFoundError, one
    line, for what ``sample`` would refuse."""
    requests.check(request)
    loaded = source.load(request.model, request.condition)
    quantiles = quantiles or dial.usual(loaded.flow)
    first = guidance.quantile(quantiles[0])
    settings = requests.settings(request, loaded, count=default_count(loaded), guidance=first)
    block = blocks.block_of(settings.count)
    found = cost(
        loaded.flow,
        guidance=first,
        divergence=settings.trace,
        batch=block,
        **settings.options,
    )
    calls = blocks.blocks_of(settings.count) * len(quantiles)
    samples = calls * block  # the last block of a row may be longer than asked for
    report = summary.heading(loaded, settings) | {
        "samples": samples,
        "evaluations_per_sample": found.evaluations,
        "tangents_per_sample": found.tangents,
        "flops_per_evaluation": found.flops_evaluation,
        "flops_per_tangent": found.flops_tangent,
        "flops": samples * found.flops,
        "memory_bytes": found.memory,
        "compile_seconds": found.compile_seconds,
        "run_seconds": calls * found.seconds,
    }
    report["settings"]["q"] = list(quantiles)
    del report["settings"]["seed"]  # no seed costs more than another
    return report


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
        f"{tables.headline(report)}\n"
        f"{settings['count']:,} samples for each of {len(settings['q'])} q, computed in blocks as "
        f"{report['samples']:,}, on {report['environment']['device']}"
    )
    table = tables.new("", "evaluations", "tangents", "in all")
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
    console.print(table)
    console.print(
        f"Memory: {_scaled(report['memory_bytes'], 'B')}. "
        f"Seconds: about {report['run_seconds']:.1f} to run, and {report['compile_seconds']:.1f} "
        "to compile, or to find it in the cache."
    )
