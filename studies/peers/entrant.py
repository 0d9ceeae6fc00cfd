"""What takes part in the race: a program to be timed, its settings, and what it does without."""

from __future__ import annotations

import inspect
import io
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from studies.peers.subjects import Subject

__all__ = ["Entrant", "Run", "lines_of"]

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Entrant:
    """``program(subject, setting) -> run``; ``run()`` gives log p [n] of all samples in nats.

    ``default`` is the setting that the package's own documentation or signature has; ``ladder`` are
    those that it is tried at, coarse ones first within a method, ``planar`` more for the plane,
    where a call takes milliseconds. ``probe(subject)`` is the probe
    [n, *shape] that it keeps through a solve (None: the exact trace, where the subject has one,
    else the subject's probe), ``prior_variance`` that of the noise it assumes at t = 0.
    ``written`` is the function whose lines a user would write. ``without`` names what the answer
    lacks; ``compiles``: whether the first call does.
    """

    name: str
    package: str
    default: str
    ladder: tuple[str, ...]
    program: Callable[[Subject, str], Run]
    written: Callable[..., Any]
    without: str
    planar: tuple[str, ...] = ()
    probe: Callable[[Subject], np.ndarray] | None = None
    prior_variance: Callable[[Subject], float] = lambda subject: 1.0
    compiles: bool = False
    fits: Callable[[Subject], bool] = lambda subject: True

    def settings(self, subject: Subject) -> tuple[str, ...]:
        """Every setting once, the default first."""
        more = self.planar if subject.size == 2 else ()
        return tuple(dict.fromkeys((self.default, *self.ladder, *more)))


def lines_of(fn: Callable[..., Any]) -> int:
    """Lines of code of a function, without its docstring, comments and blank lines."""
    source = inspect.getsource(fn)
    held: set[int] = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    previous = tokenize.INDENT
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        docstring = token.type == tokenize.STRING and previous in (
            tokenize.INDENT,
            tokenize.NEWLINE,
        )
        if token.type not in skipped | {tokenize.ENDMARKER} and not docstring:
            held |= set(range(token.start[0], token.end[0] + 1))
        if token.type != tokenize.NL:
            previous = token.type
    return len(held)


def words(setting: str) -> Mapping[str, str]:
    """``"tsit5 steps=8"`` as ``{"method": "tsit5", "steps": "8"}``."""
    method, *rest = setting.split()
    return {"method": method} | dict(word.split("=", 1) for word in rest)
