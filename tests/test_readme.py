"""README's Python blocks run, in order, as one program."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
X64 = False  # as for a user who types them


def test_blocks_run():
    text = README.read_text("utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 5
    names: dict = {}
    for block in blocks:
        # The line numbers of a failure are those of README.
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block.group(1), str(README), "exec"), names)


def test_the_two_commands_come_first():
    first = README.read_text("utf-8").split("```")[1]
    assert "pip install -e . && densityguide sample\n" in first
    assert 'pip install -e ".[test]" && pytest\n' in first


def test_files_that_readme_points_to_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text("utf-8"))
    assert links
    for link in links:
        assert (README.parent / link).exists(), link
