"""The floor plan: imports only go down, and each engine has one door."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import densityguide

PACKAGE = Path(densityguide.__file__).parent

# Imports only go down; rooms of one floor may use each other, but no two in a circle.
FLOORS = {
    1: "checks xla disk display data",
    2: "flow parallel",
    3: "solve models",
    4: "density",
    5: "steer spacetime",
    6: "training verify plotting",
    7: "app __main__",
}
LEVEL = {room: level for level, rooms in FLOORS.items() for room in rooms.split()}
# What the mathematics never sees.
OUTER = {"disk", "display", "data", "models", "training", "plotting", "app", "__main__"}
MATHEMATICS = set(LEVEL) - OUTER

# Engine -> the rooms that may import it.
DOORS = {
    "diffrax": {"solve"},
    "flax": {"models", "flow"},
    "equinox": {"flow"},
    "optax": {"training", "spacetime"},
    "orbax": {"training"},
    "pydantic": {"disk"},
    "scipy": {"plotting", "verify", "density"},
    "platformdirs": {"app"},
    "matplotlib": {"plotting"},
    "fontTools": {"data"},
    "sklearn": {"data"},
    "safetensors": {"models", "training"},
    "typer": {"app"},
    "gradio": {"app"},
    "grain": {"data"},
    "rich": {"app", "display"},
    "filelock": {"disk"},
    "upath": {"disk", "app"},
    "tensorstore": {"app"},
    "PIL": {"data", "plotting", "app"},
    "torch": {"models", "flow"},
    "torchax": {"models", "flow"},
    "diffusers": {"models"},
    "ray": {"app"},
    "transformers": {"models"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]


def module_of(path: Path) -> str:
    parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imported(path: Path) -> set[str]:
    """Absolute names of everything a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = inner & MODULES
            found |= modules if modules else {node.module}
    return found


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def edges() -> set[tuple[str, str]]:
    """(module, module that it imports), the front page left out."""
    return {
        (module_of(path), module)
        for path in FILES
        for module in imported(path)
        if room_of(module_of(path)) is not None
        and module.startswith("densityguide")
        and room_of(module) is not None
    }


def upward(level: dict[str, int]) -> list[str]:
    """Imports of a floor above one's own, or from the mathematics out of it."""
    found = []
    for module, other in sorted(edges()):
        here, there = room_of(module), room_of(other)
        if level[there] > level[here] or (here in MATHEMATICS and there not in MATHEMATICS):
            found.append(f"{module} imports {other}")
    return found


def test_every_room_has_a_floor():
    rooms = {room_of(module) for module in MODULES} - {None}
    assert rooms <= set(LEVEL), f"give them a floor: {rooms - set(LEVEL)}"


def test_imports_go_down():
    assert upward(LEVEL) == []


@pytest.mark.parametrize(
    ("room", "floor"), [("steer", 2), ("density", 6), ("app", 5), ("solve", 1), ("flow", 4)]
)
def test_a_room_on_the_wrong_floor_is_noticed(room, floor):
    assert upward(LEVEL | {room: floor}) != []


def folder_of(module: str) -> str:
    """The folder of a module below the package: flow, app.jobs; a file by itself counts too."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2] if parts[0] == "app" else parts[:1])


def test_no_circles_between_folders():
    graph = {}
    for module, other in edges():
        if folder_of(module) != folder_of(other):
            graph.setdefault(folder_of(module), set()).add(folder_of(other))
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_only_the_roof_knows_the_version():
    for path in FILES:
        if "densityguide" in imported(path):
            assert room_of(module_of(path)) in {"app", None}, path


def test_nothing_in_the_package_knows_the_studies():
    for path in FILES:
        assert not any(m.split(".")[0] == "studies" for m in imported(path)), path


@pytest.mark.parametrize("name", NAMES)
def test_one_door_per_engine(name):
    path = PACKAGE / name
    room = room_of(module_of(path))
    for module in imported(path):
        engine = module.split(".")[0]
        assert engine not in DOORS or room in DOORS[engine], f"{name} imports {module}"


def test_no_cycles():
    graph = {
        module_of(path): {
            module
            for module in imported(path)
            if module in MODULES - {"densityguide"} and module != module_of(path)
        }
        for path in FILES
        if path != PACKAGE / "__init__.py"
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_pmap_only_in_parallel():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            is_pmap = (
                isinstance(node, ast.Attribute)
                and node.attr in {"pmap", "shard_map"}
                and isinstance(node.value, ast.Name)
                and node.value.id == "jax"
            )
            assert not is_pmap or path.name == "parallel.py", f"{path.name} line {node.lineno}"


def test_torch_in_one_file_at_most():
    users = [
        name for name in NAMES if any(m.split(".")[0] == "torch" for m in imported(PACKAGE / name))
    ]
    assert len(users) <= 1, users


def test_import_is_light_and_starts_no_backend():
    """No optional package, no plotting, no device is touched by ``import densityguide``."""
    import subprocess
    import sys

    code = (
        "import sys, densityguide, jax._src.xla_bridge as bridge\n"
        "heavy = {'torch', 'matplotlib', 'orbax', 'sklearn', 'fontTools', 'typer', 'PIL'}\n"
        "heavy |= {'gradio', 'grain', 'ray'}\n"
        "print(sorted(heavy & set(sys.modules)), bridge._backends)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] {}"
