"""The shape of the house: imports only go down, and each engine has one door."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import densityguide

PACKAGE = Path(densityguide.__file__).parent

# A room may import rooms of its own floor and of those below; the rooms are files or folders.
FLOORS = {
    "ground": "errors clocks paths coordinates predictions priors grids knots parallel "
    "probes divergence frameworks networks",
    "flows": "flows worlds rewiring classifier_free",
    "engine": "multistep solve guidance noise tracking guided",
    "verbs": "natural rescaling sampling likelihood alignment sde polish",
    "verbs of verbs": "matching verify reports calibration high_density cost",
    "data": "data settings locks",
    "models": "models",
    "training": "training",
    "roof": "plotting jobs evidence commands",
    "door": "cli __main__",
}
LEVEL = {room: level for level, rooms in enumerate(FLOORS.values()) for room in rooms.split()}
# What the mathematics (every floor below "data") never sees.
MATHEMATICS = {room for room, level in LEVEL.items() if level < LEVEL["data"]}

# Engine -> the rooms that may import it.
DOORS = {
    "diffrax": {"solve"},
    "flax": {"models", "frameworks"},
    "equinox": {"frameworks"},
    "optimistix": {"matching"},
    "lineax": {"matching"},
    "optax": {"training"},
    "orbax": {"training"},
    "dacite": {"settings"},
    "matplotlib": {"plotting"},
    "fontTools": {"data"},
    "sklearn": {"data", "evidence"},
    "safetensors": {"models"},
    "typer": {"cli"},
    "grain": {"data"},
    "rich": {"cli", "commands", "jobs", "training"},
    "filelock": {"locks"},
    "upath": {"jobs", "evidence"},
    "tensorstore": {"jobs"},
    "PIL": {"data", "plotting", "commands"},
    "torch": {"models"},
    "torchax": {"models"},
    "diffusers": {"models"},
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


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_down(name):
    path = PACKAGE / name
    room = room_of(module_of(path))
    if room is None:
        return  # the front page imports all floors
    assert room in LEVEL, f"{name}: give the room {room!r} a floor in tests/test_imports.py"
    for module in imported(path):
        if not module.startswith("densityguide"):
            continue
        other = room_of(module)
        if other is None:  # only the version
            assert room in {"cli", "commands", "jobs"}, f"{name} imports the front page"
            continue
        assert LEVEL[other] <= LEVEL[room], f"{name} imports {module}, a floor above it"
        assert room not in MATHEMATICS or other in MATHEMATICS, f"{name} imports {module}"


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
        "heavy.add('grain')\n"
        "print(sorted(heavy & set(sys.modules)), bridge._backends)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] {}"
