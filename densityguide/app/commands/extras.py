"""Optional packages: a missing one ends in one line, not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs"]

PACKAGES = {
    "train": frozenset({"orbax", "fontTools", "sklearn", "grain"}),
    "play": frozenset({"gradio"}),
}


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Turn a missing package of this extra into a ValueError that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES[extra]:
            raise
        raise ValueError(
            f"{what} needs the package {package}, which is not installed: run "
            f'pip install -e ".[{extra}]" in a checkout, or pip install "densityguide[{extra}]"'
        ) from None
