"""Small rooms: no file over 300 lines, no function over 60."""

import ast
from pathlib import Path

import densityguide

FILES = sorted(Path(densityguide.__file__).parent.rglob("*.py"))
LONG_FILES, LONG_FUNCTIONS = 300, 60


def body(node: ast.FunctionDef) -> int:
    """Lines of a function without its docstring and signature."""
    first = node.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = first.end_lineno + 1 if is_text else first.lineno
    return node.end_lineno - start + 1


def test_files_are_short():
    long = {path.name: n for path in FILES if (n := path.read_text().count("\n")) > LONG_FILES}
    assert long == {}


def test_functions_are_short():
    found = {
        f"{path.name}:{node.name}": body(node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and body(node) > LONG_FUNCTIONS
    }
    assert found == {}
