"""What the studies' tests share."""

import jax
import pytest

from studies.evidence import statistics


@pytest.fixture
def few_draws(monkeypatch):
    """A bootstrap of few draws: enough for verdicts that are not close."""
    monkeypatch.setattr(statistics, "DRAWS", 50)


@pytest.fixture(scope="module", autouse=True)
def quick_programs(quick_compiles):
    """A question is a dozen programs that run for a second each: compiling them takes longer."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)
