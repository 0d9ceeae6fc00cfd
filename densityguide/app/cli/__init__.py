"""The command line: ``densityguide models``, ``sample``, ``density``, ``align``, ``verify``,
``cost``, and what makes a model.

Bad input, and what the system refuses, ends in one line on stderr and exit status 2; Ctrl-C in
status 130. Anything else that goes wrong is a defect and keeps its traceback.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from densityguide.app import names
from densityguide.app.cli import (  # noqa: F401  (they add their commands)
    between,
    edit,
    gather,
    jobs,
    measure,
    play,
    show,
    train,
)
from densityguide.app.cli.program import app

__all__ = ["app", "main", "program"]

# As --help lists them: what one does with a model, then what makes one.
ORDER = (
    "models",
    "sample",
    "density",
    "edit",
    "between",
    "play",
    "show",
    "align",
    "verify",
    "cost",
    "run",
    "gather",
    "train",
    "export",
    "calibrate",
)
app.registered_commands.sort(
    key=lambda command: ORDER.index(getattr(command.callback, "__name__", ""))
)

INTERRUPTED = (75, 130)  # by SIGTERM, by Ctrl-C
PACKAGE = str(Path(__file__).parents[2])


def _is_ours(error: BaseException) -> bool:
    """Whether the package itself raised this, as it does for bad input."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(PACKAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        status = int(app(arguments, prog_name="densityguide", standalone_mode=False) or 0)
        sys.stdout.flush()
        if status == 130:  # typer's own reading of Ctrl-C
            print("interrupted", file=sys.stderr)
        return status
    except BrokenPipeError:  # the reader, `head` say, has had enough; 1 is typer's status for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        message = _refused_by_the_system(error)
    except ValueError as error:
        if not _is_ours(error):
            raise
        message = str(error)
    except typer.TyperException as error:  # unknown options, missing values
        message = _misuse(error)
        if message.startswith("Usage:"):  # no command at all: what there is
            print(message, file=sys.stderr)
            return 2
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    print("error: " + names.shown(" ".join(message.split())), file=sys.stderr)
    return 2


def _refused_by_the_system(error: OSError) -> str:
    """One line for a path that may not be read, does not exist, is too long or cannot be reached;
    messages of our own stay as they are."""
    if error.errno is None or error.strerror is None:
        return str(error) or type(error).__name__
    where = "" if error.filename is None else f" {os.fsdecode(error.filename):.200}"
    return f"cannot read{where} ({error.strerror})"


def _misuse(error: typer.TyperException) -> str:
    """What was typed wrong, with the nearest option if one is near, else where to find them."""
    context = getattr(error, "ctx", None)
    told = "" if context is None else f": {context.command_path} --help says what there is"
    wrong = getattr(error, "option_name", None)
    if wrong is None:
        missing = type(error).__name__ == "MissingParameter"
        said = error.format_message().rstrip(".").removeprefix("Invalid value: ")
        return said + (told if missing else "")
    if context is not None:
        known = [name for one in context.command.params for name in one.opts if name[:2] == "--"]
        near = difflib.get_close_matches(wrong, known, 1, 0.75)
        if near:
            return f"no such option {wrong}: did you mean {near[0]}?"
        if wrong in ELSEWHERE and context.info_name == "sample":
            told = f": {ELSEWHERE[wrong]}; densityguide run --example prints one to copy"
    return f"no such option {wrong}{told}"


# What a job can do and `sample` cannot.
ELSEWHERE = {
    **dict.fromkeys(("--calibrated", "--pinned"), "other guidance is a job's"),
    **dict.fromkeys(("--noise", "--rtol", "--atol"), "this is a setting of jobs"),
}


def program() -> NoReturn:
    """`main` as a process of its own. An interrupted one ends at once: an orderly exit of Python
    crashes while XLA is at work in another thread, and the exit status would be lost. So does one
    that failed while it met other processes: the orderly way out waits for them."""
    try:
        status = main()
    except Exception:
        traceback.print_exc()
        status = 1
    if status in INTERRUPTED or _is_meeting():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _is_meeting() -> bool:
    """Whether other processes would be waited for; False where JAX was not even loaded."""
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()
