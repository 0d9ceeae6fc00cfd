"""What a question is: a slow measurement for each model, and a quick reading of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from studies.evidence.tables import Table

__all__ = ["FAILS", "HOLDS", "LIMITS", "Claim", "Question", "Reading", "Section", "verdict"]

HOLDS, LIMITS, FAILS = "holds", "holds with limits", "does not hold here"


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
