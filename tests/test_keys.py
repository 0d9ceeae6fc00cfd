"""No key serves two purposes: every key that a verb consumes is consumed once, in one way.

In JAX's key derivation ``split(key)[i]`` may equal ``fold_in(key, i)``, and a key that is drawn
from and split as well gives numbers that depend on each other. What is used again on purpose is
named: the keys of a search, which compares candidates on common random numbers.
"""

from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import random as jax_random
from makers import bare

import densityguide as dg

X64 = False
PRNG = jax_random.prng
KEY = jax.random.key(7)
PROBES = dg.hutchinson(2)


@pytest.fixture
def uses(monkeypatch):
    """key data -> list of (how, with what), of all that runs from now on."""
    seen = defaultdict(list)

    def note(how, more):
        def record(data, extra=0):
            rows = np.asarray(data).reshape(-1, np.shape(data)[-1])
            for row in rows:
                seen[tuple(row.tolist())].append((how, more, np.asarray(extra).tolist()))

        return record

    def watched(name, how, describe):
        function = getattr(PRNG, name)

        def patched(keys, *args, **kwargs):
            extra = args[0] if how == "fold" else 0
            jax.debug.callback(
                note(how, describe(*args, **kwargs)), PRNG.random_unwrap(keys), extra
            )
            return function(keys, *args, **kwargs)

        monkeypatch.setattr(PRNG, name, patched)

    watched("random_bits", "draw", lambda bit_width, shape: (bit_width, tuple(shape)))
    watched("random_split", "split", lambda shape: tuple(shape))
    watched("random_fold_in", "fold", lambda data: ())
    jax.clear_caches()
    yield seen
    jax.clear_caches()


def world():
    return dg.worlds.mixture([0.4, 0.6], [[1.0, 0.2], [-1.0, 0.5]], 0.6, log_snr=(-4.0, 3.0))


def normals(params, x, t, w):
    return 0.3 * w


X = jnp.asarray([0.4, -0.9])
SHORT = {"steps": 3}
TARGET = dg.target(-2.0)
DEQUANTISED = world().replace(transform=dg.data.Dequantise(4))
VERBS = {
    "latent": lambda: dg.latent(world(), KEY),
    "sample": lambda: dg.sample(
        world(), X, guidance=TARGET, divergence=PROBES, steering=PROBES, key=KEY, **SHORT
    ),
    "sample, noise": lambda: dg.sample(
        world(),
        X,
        guidance=dg.quantile(0.6),
        noise=dg.noise.constant(0.3, form="ito"),
        divergence=PROBES,
        steering=dg.orthogonal(2),
        key=KEY,
        **SHORT,
    ),
    "edit": lambda: dg.edit(
        world(),
        X,
        guidance=TARGET,
        depth=0.0,
        divergence=PROBES,
        steering=dg.orthogonal(2),
        key=KEY,
        **SHORT,
    ),
    "edit, noise": lambda: dg.edit(
        world(),
        X,
        guidance=None,
        noise=dg.noise.constant(0.3),
        divergence=PROBES,
        key=KEY,
        **SHORT,
    ),
    "log_density": lambda: dg.log_density(world(), X, divergence=PROBES, key=KEY, **SHORT),
    "bits_per_dim": lambda: dg.bits_per_dim(
        DEQUANTISED, jnp.asarray([[1, 2], [0, 3]]), KEY, draws=2, divergence=PROBES, **SHORT
    ),
    "high_density": lambda: dg.high_density(
        world(), X, switch=0.0, divergence=PROBES, key=KEY, steps=4
    ),
    "track_mode": lambda: dg.track_mode(world(), X, start=0.0, divergence=PROBES, key=KEY, **SHORT),
    "sample_sde": lambda: dg.sample_sde(
        world(), X, KEY, tracking=PROBES, divergence=PROBES, **SHORT
    ),
    "track_sde": lambda: dg.track_sde(
        world(),
        X,
        KEY,
        drift=lambda params, x, t: -x,
        diffusion=normals,
        params=(),
        divergence=PROBES,
        **SHORT,
    ),
    "elbo": lambda: dg.elbo(world(), X, KEY, levels=3, replicates=2),
    "score_alignment": lambda: dg.score_alignment(
        world(), X, use_score=False, divergence=PROBES, key=KEY, **SHORT
    ),
    "calibrate": lambda: (
        dg.calibrate(world(), KEY, count=8, batch=4, divergence=PROBES, **SHORT).calibration
    ),
    "alignment_report": lambda: dg.alignment_report(
        world(), KEY, count=4, use_score=False, divergence=PROBES, **SHORT
    ),
    "divergence": lambda: dg.divergence(jnp.sin, X, PROBES, KEY),
    "verify": lambda: dg.verify(bare(), KEY, count=8),
}
DEAR = ("edit",)


def faults(seen):
    """Keys that were consumed in two ways, or twice."""
    found = []
    for data, events in seen.items():
        ways = {how for how, _, _ in events}
        # Folding a key with different numbers is one purpose; anything else is used up at once.
        once = ways == {"fold"} or len(set(map(str, events))) == 1
        if not once or (ways == {"draw"} and len(events) > 1 and len(set(map(str, events))) > 1):
            found.append((data, events))
    return found


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in DEAR else name for name in VERBS],
)
def test_no_key_serves_two_purposes(uses, name):
    jax.block_until_ready(VERBS[name]())
    jax.effects_barrier()
    assert uses, "nothing was recorded"
    assert faults(uses) == []


def test_a_key_used_twice_is_noticed(uses):
    """Of the test above: a draw beside a split, and a fold beside a split."""
    jax.random.normal(KEY, (2,))
    jax.random.split(KEY)
    jax.effects_barrier()
    assert len(faults(uses)) == 1
    uses.clear()
    jax.random.fold_in(KEY, 1)
    jax.random.split(KEY)
    jax.effects_barrier()
    assert len(faults(uses)) == 1


@pytest.mark.slow
def test_landing_draws_its_report_apart_from_its_search(uses):
    """The search decodes and encodes every candidate with the same keys, on purpose; the encoding
    that is reported has one of its own."""
    out = dg.land(world(), X, -2.0, divergence=PROBES, key=KEY, steps=3, iterations=3)
    jax.block_until_ready(out)
    jax.effects_barrier()
    decode, search, report = (
        tuple(jax.random.key_data(k).tolist()) for k in jax.random.split(KEY, 3)
    )
    assert len({decode, search, report}) == 3
    shared = {tuple(row) for row in (decode, search)}
    own = {how for how, _, _ in uses[report]}
    assert own == {"fold"}, "one stream of probes, and nothing else"
    assert len(uses[report]) == len({extra for _, _, extra in uses[report]}), "each probe once"
    assert shared <= set(uses)


@pytest.mark.slow
def test_frames_share_the_search_and_draw_their_reports_apart(uses):
    """Of an interpolation: one key for every search and for log p of both ends, which the search
    has to meet; one of its own for every report."""
    out = dg.interpolate(
        world(), X, -X, frames=2, divergence=PROBES, key=KEY, steps=3, iterations=2
    )
    jax.block_until_ready(out)
    jax.effects_barrier()
    parts = jax.random.split(KEY, 3)
    search = tuple(jax.random.key_data(parts[1]).tolist())
    reports = [tuple(jax.random.key_data(k).tolist()) for k in jax.random.split(parts[2], 2)]
    assert {how for how, _, _ in uses[search]} == {"fold"}, "streams of probes, and nothing else"
    for report in reports:
        assert {how for how, _, _ in uses[report]} == {"fold"}
        assert len(uses[report]) == len({extra for _, _, extra in uses[report]}), "each probe once"
