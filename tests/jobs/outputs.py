"""What a job left in its folder."""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a finished job."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
