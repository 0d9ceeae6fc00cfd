"""Float64 for the laws, as in the folder above; modules that say ``X64 = False`` run networks."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def float64(request):
    with jax.enable_x64(getattr(request.module, "X64", True)):
        yield


@pytest.fixture(scope="module", autouse=True)
def quick_compiles(request):
    """Most of the time of small programs is compilation, so leave out its passes."""
    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, getattr(request.module, "X64", True))
    yield
    jax.config.update(name, before)
