"""Runs the command line in this process; its compiled programs go to a temporary cache."""

from __future__ import annotations

from typing import NamedTuple

import jax
import pytest


class Outcome(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of a refusal."""
        assert self.status == 2, self
        assert self.out == ""
        assert self.err.startswith("error: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Away from the user's own cache."""
    from jax.experimental.compilation_cache import compilation_cache

    folder = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(folder))
    before = jax.config.jax_compilation_cache_dir
    compilation_cache.reset_cache()
    yield folder
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()
    patch.undo()


@pytest.fixture
def run(capfd, tmp_path, monkeypatch, cache_folder):
    """``run("sample", "--count", 3) -> Outcome``, in an empty working folder."""
    from densityguide.app.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        return Outcome(status, *capfd.readouterr())

    return call
