"""What a question is: a slow measurement for each model, and a quick reading of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from studies.evidence.tables import Table

__all__ = [
    *("FAILS", "HOLDS", "LIMITS", "UNDECIDED"),
    *("Claim", "Question", "Reading", "Section", "agreed", "verdict", "word"),
]

HOLDS, LIMITS, FAILS = "holds", "holds with limits", "does not hold here"
UNDECIDED = "undecided"


class Claim(NamedTuple):
    """A claim, what was found, the rule that judges it, and the verdict."""

    text: str
    found: str
    rule: str
    verdict: str


class Section(NamedTuple):
    """A heading, a few sentences that say how to read what follows, a table, a figure."""

    title: str
    text: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    figure: Any = None  # of densityguide.plotting
    words: bool = False  # whether its cells are sentences


class Reading(NamedTuple):
    """What the measurements say."""

    sections: Sequence[Section]
    claims: Sequence[Claim]


@dataclass(frozen=True)
class Question:
    """``measure(settings, model)`` gives the rows of one model, from which ``read(settings,
    {model: rows})`` makes tables, figures and verdicts without computing any of it again.

    ``settings`` is a frozen dataclass with at least ``models``, how many samples of each, and
    ``seed``; ``method`` says, in Markdown, what is measured and how.
    """

    title: str
    method: str
    settings: type
    measure: Callable[[Any, str], Table]
    read: Callable[[Any, dict[str, Table]], Reading]


def verdict(passed: Sequence[bool]) -> str:
    """The verdict on a rule put to several models or cells, with how many met it: it holds if all
    did, with limits if half or more did."""
    if not passed:
        return "not measured here"
    met, asked = sum(passed), len(passed)
    word = HOLDS if met == asked else LIMITS if 2 * met >= asked else FAILS
    return f"{word} ({met} of {asked})"


def word(text: str) -> str:
    """A verdict without its count."""
    return text.partition(" (")[0]


def agreed(readings: Sequence[Reading], labels: Sequence[str]) -> Reading:
    """The first reading, with the verdicts of all: a claim is undecided where they disagree. What
    others found is a section of its own. ``labels`` say what is different in each."""
    first, *others = readings
    if not others:
        return first
    claims, rows = [], []
    for each in zip(*(reading.claims for reading in readings), strict=True):
        found = [claim.verdict for claim in each]
        alike = len({word(text) for text in found}) == 1
        said = "; ".join(f"{label}: {text}" for label, text in zip(labels, found, strict=True))
        text = found[0] if len(set(found)) == 1 else said
        claims.append(each[0]._replace(verdict=text if alike else f"{UNDECIDED} ({said})"))
        rows += [
            [claim.text, label, claim.found, claim.verdict]
            for label, claim in zip(labels[1:], each[1:], strict=True)
        ]
    section = Section(
        "Put again",
        "The same with other random numbers (*seed*; models that are named there keep their rows, "
        "since they are dear), and with the rows of some models from a "
        "second training (*trained again*, `studies/retrained`), those of the others as they were; "
        "tables and figures above are those of the first putting. A claim whose verdicts differ "
        "is undecided.",
        ("claim", "put again with", "found", "verdict"),
        rows,
        words=True,
    )
    return Reading([*first.sections, section], claims)
