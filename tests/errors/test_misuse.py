"""Every message of the mathematics, with the input that provokes it: one line, before tracing.

The tables lie beside this file. The last test reads the source and fails for a message that none of
them provokes, so a new `require` comes with its line in a table.
"""

import ast
import traceback
from pathlib import Path

import misuse_of_corrections
import misuse_of_flows
import misuse_of_networks
import misuse_of_parts
import misuse_of_runs
import misuse_of_solves
import misuse_of_spaces
import misuse_of_spacetime
import misuse_of_verbs
import pytest

import densityguide

PACKAGE = Path(densityguide.__file__).parent
TABLES = (
    misuse_of_corrections,
    misuse_of_flows,
    misuse_of_networks,
    misuse_of_parts,
    misuse_of_runs,
    misuse_of_solves,
    misuse_of_spaces,
    misuse_of_spacetime,
    misuse_of_verbs,
)
MISUSES = {
    f"{table.__name__.removeprefix('misuse_of_')}-{name}": case
    for table in TABLES
    for name, case in table.MISUSES.items()
}
# Their messages are about files and figures, and are provoked where those are made: tests/models,
# tests/cli and so on; those about PyTorch in its own environment, in tests/models/test_torch.py.
ELSEWHERE = ("models", "training", "data", "app", "plotting", "disk/storage", "disk/folders")
ELSEWHERE += ("flow/torch_modules", "flow/layouts")
ERRORS = {"ValueError", "TypeError", "FileNotFoundError", "ShapeError"}

provoked: dict[str, set[tuple[str, int]]] = {}


def places(error: BaseException | None) -> set[tuple[str, int]]:
    """(file, line) of every frame of an error, and of those it came from."""
    found = set()
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        found |= {(frame.filename, frame.lineno) for frame in frames}
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_one_clear_line(name):
    misuse, message = MISUSES[name]
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        misuse()
    assert "\n" not in str(caught.value)
    provoked[name] = places(caught.value)


def sites() -> dict[tuple[str, int, int], str]:
    """(file, first line, last line) of everything that may refuse."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).as_posix().startswith(ELSEWHERE):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call):
                continue  # a bare raise has no message
            name = getattr(call.func, "id", None)
            if name in ERRORS if isinstance(node, ast.Raise) else name == "require":
                found[str(path), node.lineno, node.end_lineno] = ast.unparse(call)
    return found


def test_every_message_is_provoked():
    if len(provoked) < len(MISUSES):
        pytest.skip("asks for the tests above, all of them, in the same process")
    seen = set().union(*provoked.values())
    missing = [
        f"{Path(file).relative_to(PACKAGE)}:{first} {text}"
        for (file, first, last), text in sites().items()
        if not any((file, line) in seen for line in range(first, last + 1))
    ]
    assert not missing, "provoke them in a table of this folder:\n" + "\n".join(missing)
