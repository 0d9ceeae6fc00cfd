"""Every block of README and of the documentation runs, and prints what stands below it."""

import re
from pathlib import Path

import jax
import pages
import pytest

import densityguide as dg

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page(path: Path):
    return pytest.param(path, id=of(path), marks=pytest.mark.slow)  # a dozen programs each


@pytest.fixture(scope="module", autouse=True)
def caches(tmp_path_factory):
    """The command line's compilation cache, away from the user's own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    patch.undo()


def with_python(path: Path) -> bool:
    return any(block.kind == "python" for block in pages.blocks(path.read_text("utf-8")))


@pytest.mark.parametrize("path", [page(p) for p in [ROOT / "README.md", *PAGES] if with_python(p)])
def test_python_runs_and_prints_what_is_written(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # nothing a page does lands in the repository
    names: dict = {}
    for block in pages.blocks(path.read_text("utf-8")):
        if block.kind == "python" and not pages.is_not_run(block):
            seen = pages.printed(block, names, str(path))
            assert not block.expected or not pages.differences(seen, block.expected), of(path)


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=of)
def test_blocks_are_sound(path, capfd):
    """What is not run compiles and names what exists; commands have options that exist; a block
    that prints shows what."""
    from densityguide.app.cli import main

    for block in pages.blocks(path.read_text("utf-8")):
        assert block.kind in ("python", "sh"), f"line {block.line}: name the block's language"
        if block.kind == "python":
            compile("\n" * block.line + block.code, of(path), "exec")
            assert pages.unknown_names(block.code) == []
            if pages.is_not_run(block):
                assert len(block.code.splitlines()[0]) > len(pages.NOT_RUN) + 10, "say why"
            elif path.name != "README.md":
                assert ("print(" in block.code) <= (block.expected is not None), block.line
        for line in pages.commands(block):
            assert main([*pages.arguments(line), "--help"]) == 0, capfd.readouterr().err


def test_commands_fail_as_written(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shown = 0
    for path in PAGES:
        for block in pages.blocks(path.read_text("utf-8")):
            if block.kind == "sh" and block.expected is not None:
                seen = "".join(pages.run_command(line) for line in pages.commands(block))
                assert pages.differences(seen, block.expected) == []
                shown += 1
    assert shown >= 2
    assert list(tmp_path.iterdir()) == []


def test_the_two_commands_come_first():
    first = pages.blocks((ROOT / "README.md").read_text("utf-8"))[0].code
    assert first == (
        'pip install -e . && densityguide sample\npip install -e ".[test]" && pytest\n'
    )


def test_every_status_is_explained():
    text = (DOCS / "errors.md").read_text("utf-8")
    assert [s.name for s in dg.Status if s and f"`{s.name}`" not in text] == []


def test_every_public_name_is_in_the_reference():
    text = "\n".join(p.read_text("utf-8") for p in (DOCS / "reference").glob("*.md"))
    assert set(dg.__all__) - set(re.findall(r"\w+", text)) == set()


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert [of(p) for p in PAGES if str(p.relative_to(DOCS)) not in menu] == []


@pytest.mark.parametrize(
    ("seen", "written", "same"),
    [
        ("log p = -2.004\n", "log p = -2.00", True),
        ("log p = -2.02", "log p = -2.00", False),
        ("1,234 bytes", "1,234 bytes", True),
        ("33 forward passes", "34 forward passes", False),
        ("1e-3 nats", "1.2e-3 nats", False),
        ("(8, 8, 1)", "(8,  8, 1)", True),
        ("75% positive", "76% positive", True),
        ("OK", "UNMET", False),
    ],
)
def test_differences(seen, written, same):
    assert (pages.differences(seen, written) == []) == same


def test_an_error_that_is_not_written_is_not_swallowed():
    (quiet,) = pages.blocks("```python\ndg.quantile(2.0)\n```\n")
    with pytest.raises(ValueError, match="q must lie"):
        pages.printed(quiet, {"dg": dg})
    (shown,) = pages.blocks("```python\ndg.quantile(2.0)\n```\n\n```text\nnothing\n```\n")
    assert pages.differences(pages.printed(shown, {"dg": dg}), shown.expected)


def test_unknown_names_are_found():
    assert pages.unknown_names("dg.sample(dg.paths.linear(), dg.smaple, dg.paths.liner)") == [
        "dg.smaple",
        "dg.paths.liner",
    ]
