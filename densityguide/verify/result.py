"""What a verification found."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Check", "Verification"]


class Check(NamedTuple):
    """One line of the table; ``passed`` is None where a check does not apply."""

    name: str
    passed: bool | None
    seen: str
    expected: str
    hint: str


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

    def __str__(self) -> str:
        marks = {True: "pass", False: "FAIL", None: "-"}
        rows = [("check", "", "seen", "expected")]
        rows += [(c.name, marks[c.passed], c.seen, c.expected) for c in self.checks]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
        ]
        lines += [f"likely mistake: {hint}" for hint in self.advice]
        return "\n".join(line.rstrip() for line in lines)
