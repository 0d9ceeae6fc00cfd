"""``python -m studies peers``: the whole race, kept in ``peers.json`` and told in README.md."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studies.benchmarks.report import machine
from studies.peers import measure, memory, report, subjects
from studies.peers.entrant import Entrant
from studies.peers.entrants import ENTRANTS, versions
from studies.peers.reference import truth
from studies.peers.subjects import Subject

__all__ = ["run"]

HERE = Path(__file__).parent
GAP = 1e-5  # between the two networks' forward passes, relative


def run(
    names: Sequence[str],
    out: Path | None = None,
    small: bool = False,
    seconds: float = 280.0,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Race on the named subjects for about ``seconds``; called again, it goes on where it stopped.

    ``small`` is a rehearsal: few samples, two settings each, one round, nothing written to README.
    """
    until = time.perf_counter() + seconds
    out = HERE if out is None else out
    kept = out / "peers.json"
    told = json.loads(kept.read_text("utf-8")) if kept.exists() else {"subjects": {}}
    told |= {"machine": machine(), "versions": versions()}

    def keep() -> None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        part.replace(kept)

    for name in names:
        done = _one(told, name, out / "weights", small, until, keep, tell)
        tell(f"{name}: {'done' if done else 'stopped at the time given, run it again to go on'}")
    body = report.pages(told, ENTRANTS, out / "README.md")
    tell(body)
    return told


def _one(
    told: dict[str, Any],
    name: str,
    folder: Path,
    small: bool,
    until: float,
    keep: Callable[[], None],
    tell: Callable[[str], None],
) -> bool:
    subject = subjects.load(name, folder, small)
    gap = subjects.forward_gap(subject)
    if gap > GAP:
        raise ValueError(f"the networks of {name} differ by {gap:.1e}: carry their weights anew")
    trace = (
        "exact trace" if subject.exact else "one probe, kept (packages that draw draw their own)"
    )
    about = f"{len(subject.states)} samples of {subject.size} dimensions, {trace}."
    row = told["subjects"].setdefault(name, {"rows": [], "peaks": {}, "truths": {}})
    row |= {"about": f"{about} Forward passes agree to {gap:.0e}."}
    rows = row["rows"]
    taking = tuple(entrant for entrant in ENTRANTS if entrant.fits(subject))

    def truths(entrant: Entrant) -> np.ndarray:
        if entrant.name not in row["truths"]:
            row["truths"][entrant.name] = truth(subject, entrant, small).tolist()
            keep()
        return np.asarray(row["truths"][entrant.name])

    for entrant in taking:
        if not _scouted(subject, entrant, rows, truths, small, until, keep, tell):
            return False
    if not measure.race(subject, taking, rows, keep, until, rounds=1 if small else measure.ROUNDS):
        return False
    return _peaks(row, subject, taking, folder, small, until, keep)


def _scouted(
    subject: Subject,
    entrant: Entrant,
    rows: list[dict[str, Any]],
    truths: Callable[[Entrant], np.ndarray],
    small: bool,
    until: float,
    keep: Callable[[], None],
    tell: Callable[[str], None],
) -> bool:
    """Every setting once, coarse ones first; finer ones of a method that reached the last level
    would only cost more."""
    known = {r["setting"]: r for r in rows if r["entrant"] == entrant.name}
    settled: set[str] = set()
    for setting in entrant.settings(subject)[: 2 if small else None]:
        method = setting.split()[0]
        if setting not in known:
            if method in settled:
                continue
            if time.perf_counter() > until:
                return False
            row = known[setting] = measure.scout(subject, entrant, setting, truths)
            rows.append(row)
            tell(" ".join(f"{key}={value}" for key, value in row.items() if key != "times"))
            keep()
        bits = known[setting]["bits"]
        if setting != entrant.default and bits is not None and bits <= measure.LEVELS[-1]:
            settled.add(method)
    return True


def _peaks(
    row: dict[str, Any],
    subject: Subject,
    taking: Sequence[Entrant],
    folder: Path,
    small: bool,
    until: float,
    keep: Callable[[], None],
) -> bool:
    for entrant in taking[:1] if small else taking:
        if entrant.name in row["peaks"]:
            continue
        if time.perf_counter() > until:
            return False
        row["peaks"][entrant.name] = memory.peak(
            subject.name, entrant.name, entrant.default, folder, small
        )
        keep()
    return True
