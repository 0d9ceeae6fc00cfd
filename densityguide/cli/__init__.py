"""The command line: ``densityguide sample``, ``density``, ``align``, ``verify``, ``cost``, and what
makes a model.

Bad input ends in one line on stderr and exit status 2; Ctrl-C in status 130. Anything else that
goes wrong is a defect and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from densityguide.cli import jobs, measure, train  # noqa: F401  (they add their commands to the app)
from densityguide.cli.program import app

__all__ = ["app", "main", "program"]

# As --help lists them: what one does with a model, then what makes one.
ORDER = ("sample", "density", "align", "verify", "cost", "run", "train", "export")
app.registered_commands.sort(
    key=lambda command: ORDER.index(getattr(command.callback, "__name__", ""))
)

INTERRUPTED = (75, 130)  # by SIGTERM, by Ctrl-C
PACKAGE = str(Path(__file__).parent.parent)


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
    except (ValueError, FileNotFoundError) as error:
        if not _is_ours(error):
            raise
        message = str(error)
    except BrokenPipeError:  # the reader, `head` say, has had enough; 1 is typer's status for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except typer.TyperException as error:  # unknown options, missing values
        message = error.format_message()
        if message.startswith("Usage:"):  # no command at all: what there is
            print(message, file=sys.stderr)
            return 2
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return 130
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def program() -> NoReturn:
    """`main` as a process of its own. One that was interrupted ends at once: Python's own way out
    crashes where XLA is still at work in another thread, and the exit status would be lost."""
    status = main()
    if status in INTERRUPTED:
        import jax

        if not jax.distributed.is_initialized():  # others wait for a farewell
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    sys.exit(status)
