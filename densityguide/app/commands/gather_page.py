"""The page and the sheet that `densityguide gather` writes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from densityguide import plotting
from densityguide.app import summary
from densityguide.app.commands import tables
from densityguide.app.commands.gathered import MEANINGS, Group, Shown, groups, is_alignment, means
from densityguide.app.jobs import config
from densityguide.app.jobs.view import Results
from densityguide.app.names import shown
from densityguide.app.source import Source
from densityguide.plotting.captioned import Row, captioned
from densityguide.plotting.results import Figure, Pictures, Spread, Table
from densityguide.verify.alignment_report import wilson_interval

__all__ = ["page", "sheet"]

Stored = dict[str, np.ndarray]
ERRORS = {
    "standard_error": "probes (standard error)",
    "solver_error": "solver",
    "total_error": "both (95 %)",
}


def page(
    found: Results, loaded: Source | None, stored: Stored, pictures: Sequence[Shown]
) -> plotting.Page:
    """Figures, histograms, pictures and tables."""
    sets = groups(found)
    name = "value" if is_alignment(found) else "log_density"
    measured = name in stored
    title, subtitle = headings(found, loaded)
    told = [
        _rows(loaded, stored, sets) if measured else None,
        _errors(loaded, stored) if measured else None,
        _statuses(stored),
        _costs(found, stored),
        _places(found),
    ]
    return plotting.results(
        title,
        subtitle,
        _figures(found, loaded, stored),
        [_spread(group, loaded, stored, name) for group in sets] if measured else [],
        "Score alignment (nats)" if name == "value" else "log p (nats)",
        tables=[table for table in told if table is not None],
        pictures=[Pictures(row.label, row.images, _captions(row, stored)) for row in pictures],
        levels=loaded.levels if loaded is not None else 256,
        told=_about(pictures),
        settings=json.dumps(config.record(found.job), indent=1),
    )


def headings(found: Results, loaded: Source | None) -> tuple[str, str]:
    """What stands above the page and the sheet."""
    kind = {"sample": "samples", "density": "log-density", "alignment": "score alignment"}
    record = config.record(found.job)
    of = f"{kind[record['kind']]} of {record['model']}"
    data = f" on {record['data']}" if "data" in record else ""
    rows, shards = len(found.row), len(found.records)
    whole = f"{rows:,} rows" if rows == found.samples else f"{rows:,} of {found.samples:,} rows"
    missing = f", {len(found.missing):,} shards not there" if found.missing else ""
    return shown(f"{of}{data}".capitalize()), shown(
        f"{found.place}: {whole} in {shards:,} shard{'s' * (shards != 1)}{missing}"
    )


def sheet(found: Results, loaded: Source, stored: Stored, pictures: Sequence[Shown]) -> Image.Image:
    """The pictures of the page as one picture."""
    title, subtitle = headings(found, loaded)
    rows = [
        Row(row.images, [[caption] for caption in _captions(row, stored)], row.label)
        for row in pictures
    ]
    return captioned(rows, loaded.levels, title=title, subtitle=subtitle, note=_about(pictures))


def _about(pictures: Sequence[Shown]) -> str:
    if not pictures or not pictures[0].label:
        return "From the smallest log p to the largest, in even steps of rank; nats below."
    return "A column is one latent, a row one value of the guidance; log p in nats below."


def _captions(row: Shown, stored: Stored) -> list[str]:
    if "log_density" not in stored:
        return [""] * len(row.rows)
    return [
        f"{value:,.0f}".replace("-", "\u2212") if np.isfinite(value) else "failed"
        for value in stored["log_density"][row.rows].tolist()
    ]


def _figures(found: Results, loaded: Source | None, stored: Stored) -> list[Figure]:
    failed = sum(record["failed"] for record in found.records)
    share = f"{failed / len(found.row):.2%} of the rows" if failed else "none"
    figures = [
        Figure("Rows", f"{len(found.row):,}", f"of {found.samples:,}"),
        Figure("Failed", f"{failed:,}", share, alarm=failed > 0),
    ]
    if "value" in stored:
        passed, count = int((stored["value"] > 0).sum()), len(stored["value"])
        low, high = wilson_interval(passed, count)
        note = f"95 %: {float(low):.1%} to {float(high):.1%}"
        figures.append(Figure("Aligned", f"{passed / count:.1%}", note))
    elif "log_density" in stored:
        figures += [_log_p(found, loaded, stored), _known_to(loaded, stored)]
    total = sum(record["evaluations"] for record in found.records)
    each = f"{total / len(found.row):,.0f} a row"
    return [*figures, Figure("Network evaluations", _large(total), each)]


def _log_p(found: Results, loaded: Source | None, stored: Stored) -> Figure:
    """The mean, or where several values were asked for the lowest and the highest."""
    sets = groups(found)
    parts = [{key: array[group.rows] for key, array in stored.items()} for group in sets]
    told = [means(loaded, part) for part in parts]
    nats = sorted(row["log_density_nats"] for row in told)
    bits = sorted((row["bits_per_dim"] for row in told), reverse=True)
    ends = [0, -1] if len(sets) > 1 else [0]
    value = " \u2013 ".join(
        tables.number(nats[end], 0 if abs(nats[0]) > 1000 else 1) for end in ends
    )
    note = "nats"
    if np.isfinite(bits).all():
        note += ", " + " \u2013 ".join(tables.number(bits[end], 3) for end in ends) + " bits/dim"
    return Figure("Mean log p", value.replace("-", "\u2212"), note)


def _known_to(loaded: Source | None, stored: Stored) -> Figure:
    """The root mean square of the half-widths."""
    error = float(np.sqrt(np.mean(_finite(stored["total_error"]) ** 2)))
    bits = error / _nats_a_bit(loaded)
    note = "nats" + (f", {_short(bits)} bits/dim" if np.isfinite(bits) else "")
    return Figure("A single log p, 95 %", f"\u00b1 {_short(error)}", note)


def _finite(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)].astype(np.float64)
    return known if known.size else np.asarray([np.nan])


def _short(value: float) -> str:
    """Two digits that count, as a plain number."""
    if not np.isfinite(value):
        return "-"
    digits = max(0, 1 - int(np.floor(np.log10(value)))) if value > 0 else 0
    return f"{value:,.{min(digits, 9)}f}"


def _large(count: float) -> str:
    """Thousands, millions, .. as letters."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M")):
        if count >= size:
            return f"{count / size:,.3g}{letter}"
    return f"{count:,.0f}"


def _spread(group: Group, loaded: Source | None, stored: Stored, name: str) -> Spread:
    part = {key: array[group.rows] for key, array in stored.items()}
    if name == "value":
        values = _finite(part["value"])
        return Spread("latents", part["value"], (f"median {np.median(values):,.1f}",))
    told = means(loaded, part)
    error = 1.96 * told["standard_error_nats"]
    lines = [tables.with_error(told["log_density_nats"], error, 1 if error < 10 else 0)]
    if np.isfinite(told["bits_per_dim"]):
        lines.append(f"{told['bits_per_dim']:.3f} bits/dim")
    return Spread(group.label, part["log_density"], lines, told["log_density_nats"], error)


def _rows(loaded: Source | None, stored: Stored, sets: Sequence[Group]) -> Table | None:
    if "value" in stored:
        return None
    heads = ["", "rows", "failed", "log p (nats)", "sd between", "bits/dim", "tracked", "unmet"]
    rows = []
    for group in sets:
        part = {key: array[group.rows] for key, array in stored.items()}
        told = means(loaded, part)
        more = [_mean(part[key], 2) if key in part else "-" for key in ("tracked", "unmet")]
        bits = told["bits_per_dim"], 1.96 * told["standard_error_bits_per_dim"]
        nats = told["log_density_nats"], 1.96 * told["standard_error_nats"]
        rows.append(
            [
                group.label,
                f"{told['samples']:,}",
                f"{told['failed']:,}",
                tables.with_error(*nats, 2),
                tables.number(told["between_samples_nats"], 2),
                tables.with_error(*bits, 4),
                *more,
            ]
        )
    return Table("Means", heads, rows, "\u00b1 is the 95 % interval of the mean over samples.")


def _mean(values: np.ndarray, digits: int) -> str:
    return tables.number(float(np.mean(_finite(values))), digits)


def _errors(loaded: Source | None, stored: Stored) -> Table | None:
    rows = []
    for name, words in ERRORS.items():
        if name in stored and np.isfinite(stored[name]).any():
            at = np.percentile(_finite(stored[name]), [50.0, 95.0, 100.0]).tolist()
            rows.append([words, *map(_short, at), _short(at[0] / _nats_a_bit(loaded))])
    heads = ["from", "median (nats)", "95 % are below", "largest", "median (bits/dim)"]
    note = "How well the log p of a single sample is known."
    return Table("Error bars", heads, rows, note) if rows else None


def _nats_a_bit(loaded: Source | None) -> float:
    """How many nats one bit per dimension is; nan for data that are not integers."""
    known = loaded is not None and loaded.flow.transform is not None
    return loaded.flow.size * math.log(2.0) if loaded is not None and known else math.nan


def _statuses(stored: Stored) -> Table:
    status, meaning = stored["status"], {str(flag.name): text for flag, text in MEANINGS.items()}
    counts = summary.statuses(status)
    fine = int((status == 0).sum())
    rows = [["ok", "nothing to report", f"{fine:,}", f"{fine / len(status):.2%}"]]
    rows += [
        [name, meaning[name], f"{count:,}", f"{count / len(status):.2%}"]
        for name, count in sorted(counts.items(), key=lambda pair: -pair[1])
    ]
    note = "A row may carry several." if len(rows) > 2 else ""
    return Table("Statuses", ["status", "meaning", "rows", "share"], rows, note, words=2)


def _costs(found: Results, stored: Stored) -> Table:
    rows = []
    for name, words in (("evaluations", "network evaluations"), ("tangents", "tangents")):
        if name in stored:
            values = stored[name].astype(np.float64)
            total = values.sum()
            rows.append([words, *(f"{v:,.0f}" for v in (values.mean(), values.max(), total))])
    note = f"{len(found.records):,} shards of {found.job.output.shard:,} rows."
    return Table("Costs", ["", "a row, mean", "a row, most", "in all"], rows, note)


def _places(found: Results) -> Table:
    heads = ["device", "densityguide", "jax", "numpy", "python"]
    rows = [[entry.get(name, "-") for name in heads] for entry in found.environments]
    return Table("Computed on", heads, rows)
