"""Committed notebooks hold what a reader will see: executed in order, whole, and small.

``.ci/run`` executes each from a clean kernel.
"""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MACHINE = re.compile(r"(?<![\w.:/])/(home|root|tmp|Users|usr|opt|var|work|mnt|private)/|[A-Z]:\\\\")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path, kind):
    notebook = json.loads(path.read_text("utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def text(lines):
    return lines if isinstance(lines, str) else "".join(lines)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 6


@each
def test_ran_once_from_top_to_bottom(path):
    code = cells(path, "code")
    counts = [cell["execution_count"] for cell in code]
    assert counts == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures


@each
def test_is_small_and_names_no_machine(path):
    content = path.read_text("utf-8")
    assert len(content.encode()) < 1_000_000
    without_pictures = re.sub(r'"image/png": "[^"]*"', "", content)
    assert not MACHINE.search(without_pictures), MACHINE.search(without_pictures)


@each
def test_installs_first_and_ends_with_where_to_go(path):
    assert "pip" in text(cells(path, "code")[0]["source"])
    words = [text(cell["source"]) for cell in cells(path, "markdown")]
    assert words[0].startswith("# ")
    assert "## Where to go next" in words[-1]


@each
def test_links_lead_somewhere(path):
    for cell in cells(path, "markdown"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text(cell["source"])):
            assert (FOLDER / link).exists(), link
