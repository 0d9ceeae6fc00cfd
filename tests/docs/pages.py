"""Reading and running the fenced blocks of a page.

A page's ``python`` blocks are one program, run from top to bottom. A ``text`` block right after one
is what it prints, or the error it ends in; ``python tests/docs/pages.py PAGE...`` writes it anew.
A block whose first line begins with ``# not run:`` says why it is only compiled. In ``sh`` blocks
the lines of ``densityguide`` must have options that exist; one followed by a ``text`` block is run,
and what it prints is the block.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import densityguide as dg

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")
NOT_RUN = "# not run: "


class Block(NamedTuple):
    kind: str
    code: str
    line: int  # lines of the page before it
    expected: str | None
    span: tuple[int, int] | None  # where the expected text stands


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, each with the text block that follows it directly."""
    found, fences = [], list(FENCE.finditer(text))
    for fence, after in zip_longest(fences, fences[1:]):
        if fence[1] == "text":
            continue
        output = after if after is not None and after[1] == "text" else None
        if output is not None and text[fence.end() : output.start()].strip():
            output = None
        line = text[: fence.start(2)].count("\n")
        expected, span = (None, None) if output is None else (output[2], output.span(2))
        found.append(Block(fence[1], fence[2], line, expected, span))
    return found


def is_not_run(block: Block) -> bool:
    return block.kind == "python" and block.code.startswith(NOT_RUN)


def printed(block: Block, names: dict[str, Any], page: str = "page") -> str:
    """What a ``python`` block prints, errors of use included; other errors are raised with the
    line numbers of the page."""
    out = io.StringIO()
    code = compile("\n" * block.line + block.code, page, "exec")
    with contextlib.redirect_stdout(out):
        if block.expected is None:
            exec(code, names)
        else:
            try:
                exec(code, names)
            except (ValueError, FileNotFoundError) as error:
                print(f"{type(error).__name__}: {error}")
    return out.getvalue()


def run_command(line: str) -> str:
    """What a line of ``densityguide`` prints, in this process."""
    from densityguide.app.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        main(arguments(line))
    return out.getvalue()


def commands(block: Block) -> Iterator[str]:
    """The lines of a shell block that call ``densityguide``."""
    if block.kind in ("sh", ""):
        for line in block.code.splitlines():
            call = line.partition(" && ")[2] or line
            if call.startswith("densityguide "):
                yield call


def arguments(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


def unknown_names(code: str) -> list[str]:
    """Names ``dg.a.b`` in the code that the package does not have."""
    missing = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and (name := ast.unparse(node)).startswith("dg."):
            owner, _, last = name.rpartition(".")
            known: Any = dg
            for part in owner.split(".")[1:]:
                known = getattr(known, part, None)
            # What a call or a subscript gives is not looked into.
            if owner.replace(".", "").isidentifier() and not hasattr(known, last):
                missing.append(name)
    return missing


def differences(seen: str, written: str) -> list[str]:
    """Where printed output differs from a page's: words exactly, numbers by more than one unit of
    the last digit that the page gives."""
    seen, written = " ".join(seen.split()), " ".join(written.split())
    if NUMBER.sub("#", seen) != NUMBER.sub("#", written):
        return [f"printed: {seen}", f"written: {written}"]
    pairs = zip(NUMBER.findall(seen), NUMBER.findall(written), strict=True)
    return [f"printed {a}, written {b}" for a, b in pairs if abs(_value(a) - _value(b)) > _unit(b)]


def _value(number: str) -> float:
    return float(number.replace(",", "").rstrip("%"))


def _unit(number: str) -> float:
    """One unit of the last digit of ``number``; 0 for whole numbers, which are counts."""
    if number.lstrip("+-").replace(",", "").isdigit():
        return 0.0
    mantissa, _, exponent = number.rstrip("%").partition("e")
    digits = len(mantissa.partition(".")[2])
    return 1.0001 * 10.0 ** (int(exponent or 0) - digits)


def rewrite(path: Path) -> None:
    """Run a page and put what it prints into its text blocks."""
    text, names, parts, last = path.read_text("utf-8"), {}, [], 0
    for block in blocks(text):
        seen = None
        if block.kind == "python" and not is_not_run(block):
            seen = printed(block, names, str(path))
        elif block.span is not None:
            seen = "".join(run_command(line) for line in commands(block))
        if block.span is not None and seen is not None:
            parts += [text[last : block.span[0]], seen]
            last = block.span[1]
        elif seen:
            print(f"{path} line {block.line}: printed and not shown:\n{seen}", file=sys.stderr)
    path.write_text("".join(parts) + text[last:], "utf-8")


if __name__ == "__main__":
    for page in [Path(name).absolute() for name in sys.argv[1:]]:
        # Nothing a page does lands in the repository.
        with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
            rewrite(page)
