"""Optional packages: a missing one ends in one line, not in a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needs_train"]

TRAIN = frozenset({"orbax", "fontTools", "sklearn", "grain"})


@contextmanager
def needs_train(what: str) -> Iterator[None]:
    """Turn a missing package of the extra ``train`` into a ValueError that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAIN:
            raise
        raise ValueError(
            f"{what} needs the package {package}, which is not installed: "
            'run pip install -e ".[train]" in a checkout, or pip install "densityguide[train]"'
        ) from None
