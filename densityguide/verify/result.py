"""What a verification found."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Check", "Verification"]


class Check(NamedTuple):
    """One line of the table. ``passed`` is None where nothing is judged: a check that was left out,
    ``seen`` saying why, or, with a ``hint``, a property of the network that no wiring mends, with
    its consequence."""

    name: str
    passed: bool | None
    seen: str
    expected: str
    hint: str

    @property
    def verdict(self) -> str:
        """``pass``, ``FAIL``, ``note``, or ``-`` for what was left out."""
        if self.passed is None:
            return "note" if self.hint else "-"
        return "pass" if self.passed else "FAIL"


class Verification(NamedTuple):
    """All checks; ``print`` it for a table. ``passed`` is True if none failed."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed is not False for check in self.checks)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do about the failures."""
        return tuple(c.hint for c in self.checks if c.passed is False and c.hint)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a right wiring leaves to be known about this network."""
        return tuple(c.hint for c in self.checks if c.passed is None and c.hint)

    def __str__(self) -> str:
        rows = [("check", "", "seen", "expected")]
        rows += [(c.name, c.verdict, c.seen, c.expected) for c in self.checks]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
        ]
        lines += [f"likely mistake: {hint}" for hint in self.advice]
        lines += [f"note: {hint}" for hint in self.notes]
        return "\n".join(line.rstrip() for line in lines)
