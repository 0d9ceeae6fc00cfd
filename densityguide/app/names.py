"""Names of files, models and arrays as they are shown: one line, nothing that a terminal obeys."""

from __future__ import annotations

__all__ = ["shown"]


def shown(name: object) -> str:
    """The name with control characters, line ends among them, spelt out as in a Python string."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(name)
    )
