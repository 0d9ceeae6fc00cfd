"""The persistent compilation cache of the command line: the second run compiles nothing."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import platformdirs

__all__ = ["current", "default_folder", "entries", "switch_on"]


def default_folder() -> Path:
    """The platform's folder for caches, with the name of this program."""
    return Path(platformdirs.user_cache_dir("densityguide", appauthor=False)) / "compiled"


def switch_on() -> None:
    """Keep every compiled program on disk, where a folder can be written; the user's own
    ``JAX_COMPILATION_CACHE_DIR`` wins."""
    if current() is not None:
        return
    folder = default_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def current() -> Path | None:
    """The folder in use, or None."""
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return None if folder is None else Path(folder)


def entries(folder: Path | None) -> frozenset[str]:
    """Names of the programs in the cache."""
    if folder is None or not folder.is_dir():
        return frozenset()
    return frozenset(path.name for path in folder.glob("*-cache"))
