"""Compiled verbs really enter the persistent cache, and are found there again."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache
from test_export import VERBS, mixture

X64 = False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    wanted = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield folder
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


NAMES = ("sample-target", "sample-adaptive", "log_density-estimated", "match", "sde")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_verb_is_compiled_once_for_all_processes(folder, name):
    flow, x, key = mixture(), jnp.asarray([0.3, -0.7, 0.4]), jax.random.key(0)

    def program(flow, x, key, value):
        return VERBS[name](flow, x, key, value)

    def stored():
        # One program, however many small ones its arguments needed.
        return {path.name for path in folder.glob("jit_program-*-cache")}

    before = stored()
    jax.clear_caches()  # as a new process starts: traces of other tests change a program's text
    jax.block_until_ready(jax.jit(program)(flow, x, key, jnp.float32(0.7)))
    first = stored()
    assert len(first - before) == 1
    jax.clear_caches()
    jax.block_until_ready(jax.jit(program)(flow, x, key, jnp.float32(0.6)))
    assert stored() == first
