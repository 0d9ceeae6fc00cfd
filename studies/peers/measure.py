"""The race itself: first every setting once, then those that matter in turn, round after round.

Everything that was measured is kept at once, so that a run that was stopped goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from studies.peers.entrant import Entrant
from studies.peers.subjects import Subject

__all__ = ["LEVELS", "chosen", "race", "scout"]

LEVELS = (0.1, 0.01, 0.001)  # bits/dim
ROUNDS, FEW = 7, 3  # the latter of what takes long
LONG, LONGEST = 2.0, 20.0  # seconds; what takes longer is measured once

Row = dict[str, Any]
Keep = Callable[[], None]


def scout(
    subject: Subject,
    entrant: Entrant,
    setting: str,
    truths: Callable[[Entrant], np.ndarray],
) -> Row:
    """Error, seconds of the first call (with whatever is compiled) and of the second."""
    run = entrant.program(subject, setting)
    start = time.perf_counter()
    found = run()
    first = time.perf_counter() - start
    second = first
    if first < LONG or entrant.compiles:
        start = time.perf_counter()
        run()
        second = time.perf_counter() - start
    gap = np.asarray(found, np.float64) - truths(entrant)
    error = float(np.sqrt(np.mean(gap**2)))
    return {
        "entrant": entrant.name,
        "setting": setting,
        "bits": error / subject.bits if np.isfinite(error) else None,
        "nats": error if np.isfinite(error) else None,
        "first": first,
        "seconds": second,
        "times": [],
    }


def chosen(rows: list[Row], entrant: Entrant) -> dict[float, Row]:
    """For each level the quickest of an entrant's rows that reaches it."""
    own = [row for row in rows if row["entrant"] == entrant.name and row["bits"] is not None]
    best = {}
    for level in LEVELS:
        reaching = [row for row in own if row["bits"] <= level]
        if reaching:
            best[level] = min(reaching, key=seconds)
    return best


def seconds(row: Row) -> float:
    """The median of what was raced, else of the scout's second call."""
    return float(np.median(row["times"])) if row["times"] else float(row["seconds"])


def race(
    subject: Subject,
    entrants: tuple[Entrant, ...],
    rows: list[Row],
    keep: Keep,
    until: float,
    rounds: int = ROUNDS,
) -> bool:
    """Rounds over every default and every chosen setting, in turn; False if ``until`` (on
    `time.perf_counter`'s clock) came first. What was raced may be slower than it seemed, and then
    another setting is chosen: raced as well."""
    while True:
        picked = [(entrant, row) for entrant in entrants for row in _picked(rows, entrant, rounds)]
        if not picked:
            return True
        runs = []
        for entrant, row in picked:
            run = entrant.program(subject, row["setting"])
            run()  # compiles
            runs.append((row, run))
            if time.perf_counter() > until:
                return False
        for _ in range(rounds):
            for row, run in runs:
                if len(row["times"]) >= _rounds(row, rounds):
                    continue
                if time.perf_counter() > until:
                    return False
                start = time.perf_counter()
                run()
                row["times"].append(time.perf_counter() - start)
            keep()


def _rounds(row: Row, rounds: int) -> int:
    if row["seconds"] > LONGEST:
        return 0
    return min(rounds, FEW) if row["seconds"] > LONG else rounds


def _picked(rows: list[Row], entrant: Entrant, rounds: int) -> list[Row]:
    """The default and what is chosen, once each, unless raced before."""
    own = [row for row in rows if row["entrant"] == entrant.name]
    wanted = [row for row in own if row["setting"] == entrant.default]
    wanted += [row for row in chosen(rows, entrant).values() if row not in wanted]
    unique = {row["setting"]: row for row in wanted if len(row["times"]) < _rounds(row, rounds)}
    return list(unique.values())
