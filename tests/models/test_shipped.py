"""The claims on the shipped models: the dial, exact targets, honest log-densities."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import densityguide as dg
from densityguide import data

pytestmark = pytest.mark.slow

NAMES = [name for name in ("digits8", "emoji32") if name in dg.models.names()]
# Exact where it is cheap; where not, two replicate streams of orthogonal probes.
TRACE = {"digits8": dg.exact(), "emoji32": dg.orthogonal(2)}
COUNT = {"digits8": 8, "emoji32": 2}
STEPS = {"digits8": 31, "emoji32": 15}


@pytest.fixture(scope="module", params=NAMES)
def shipped(request):
    name = request.param
    flow = dg.models.load(name)
    keys = jax.random.split(jax.random.key(0), COUNT[name])
    return name, flow, TRACE[name], jax.vmap(lambda key: dg.latent(flow, key))(keys), keys


def nats(flow, bits_per_dim):
    return bits_per_dim * np.log(2) * flow.size


def encode(flow, trace, x, seed, steps):
    keys = jax.random.split(jax.random.key(seed), x.shape[0])
    one = lambda x, key: dg.log_density(flow, x, divergence=trace, key=key, steps=steps)  # noqa: E731
    return jax.jit(jax.vmap(one))(x, keys)


@cache
def natural_range(name):
    """5th, 50th and 95th percentiles of natural log p, from 12 plain samples."""
    flow, trace = dg.models.load(name), TRACE[name]
    keys = jax.random.split(jax.random.key(1), 12)

    def one(key):
        x = dg.latent(flow, key)
        return dg.sample(flow, x, divergence=trace, key=key, steps=STEPS[name])

    values = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=6))(keys).log_density
    return np.percentile(values, [5, 50, 95])


def test_mean_log_p_rises_strictly_with_q(shipped):
    name, flow, trace, latents, keys = shipped

    def one(x, key, q):
        guidance, steps = dg.quantile(q), STEPS[name]
        return dg.sample(flow, x, guidance=guidance, divergence=trace, key=key, steps=steps)

    run = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
    outs = [run(latents, keys, q) for q in (0.3, 0.45, 0.6)]
    means = [float(out.log_density.mean()) for out in outs]
    assert np.all(np.diff(means) > 0)
    bad = int(dg.Status.NON_FINITE | dg.Status.INVALID)
    assert all(int(jnp.max(out.status & bad)) == 0 for out in outs)
    assert all(np.all(np.isfinite(out.x)) for out in outs)


@pytest.mark.parametrize("shipped", ["digits8"], indirect=True)
def test_matched_latents_hold_under_other_probes_and_twice_the_steps(shipped):
    name, flow, _, latents, keys = shipped
    natural, trace = natural_range(name)[1], dg.orthogonal(2)

    def one(x, key):
        return dg.match_log_density(
            flow,
            x,
            natural,
            divergence=trace,
            key=key,
            steps=STEPS[name],
            scan=5,
            scales=(0.7, 1.4),
        )

    out = jax.jit(jax.vmap(one))(latents[:2], keys[:2])
    reached = np.asarray(out.status & int(dg.Status.NO_ROOT)) == 0
    assert reached.any()
    again = encode(flow, trace, out.x, seed=9, steps=2 * STEPS[name])
    # Halves of 95 % intervals: 1.5 of them are 3 standard errors, with Student's t.
    error = 1.5 * np.hypot(out.total_error, again.total_error)
    off = np.abs(np.asarray(again.value) - natural)[reached]
    assert np.all(off <= nats(flow, 0.001) + error[reached])


def test_landing_reaches_the_requested_log_p(shipped):
    name, flow, trace, latents, keys = shipped

    def one(x, key, goal):
        return dg.land(flow, x, goal, divergence=trace, key=key, steps=STEPS[name])

    run = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
    count = COUNT[name] // 2
    for goal in natural_range(name)[:: 1 if name == "digits8" else 3]:
        out = run(latents[:count], keys[:count], goal)
        again = encode(flow, trace, out.x, seed=11, steps=STEPS[name])
        off = np.abs(np.asarray(again.value) - goal)
        found = np.asarray(out.status & int(dg.Status.NO_ROOT)) == 0
        assert np.mean(found) >= 0.75
        # Other probes, the same steps: three standard errors by Student's t, few as they are.
        error = np.hypot(out.standard_error, again.standard_error)
        degrees = np.maximum(np.minimum(out.degrees_of_freedom, again.degrees_of_freedom), 1.0)
        width = np.where(error > 0, stats.t.ppf(0.9987, degrees) * error, 0.0)
        assert np.all((off <= nats(flow, 0.002) + width)[found])


def test_held_out_digits_have_sane_bits_per_dim():
    flow, digits = dg.models.load("digits8"), data.load("digits8")
    out = dg.bits_per_dim(flow, digits.heldout[:6], jax.random.key(0), steps=31)
    assert np.all(out.status == 0)
    # Below the uniform code's log2(17), above nothing at all.
    assert 0.5 < float(out.value.mean()) < 4.0
    assert np.all(out.standard_error < 0.1)
    noise = np.random.default_rng(0).integers(0, 17, (2, 8, 8, 1)).astype(np.uint8)
    noisy = dg.bits_per_dim(flow, noise, jax.random.key(0), steps=31)
    assert float(out.value.mean()) + 1.0 < float(noisy.value.mean())


def test_error_bars_of_digits_are_honest():
    """500 solves with cycled probes where the exact value is known: the 95% intervals of Student's
    t cover 92 to 99%."""
    flow = dg.models.load("digits8")
    images = jnp.asarray(data.load("digits8").heldout[:50])
    x = jax.vmap(flow.transform)(images, jax.random.split(jax.random.key(2), 50))
    exact = jax.jit(jax.vmap(lambda x: dg.log_density(flow, x, steps=31).value))(x)

    def one(x, key):
        return dg.log_density(flow, x, divergence=dg.orthogonal(2), key=key, steps=31)

    run = jax.jit(jax.vmap(jax.vmap(one, in_axes=(None, 0))))
    out = run(x, jax.random.split(jax.random.key(3), (50, 10)))
    error = np.asarray(out.value - exact[:, None])
    reach = stats.t.ppf(0.975, np.asarray(out.degrees_of_freedom)) * np.asarray(out.standard_error)
    coverage = np.mean(np.abs(error) < reach)
    print("coverage", coverage)
    assert 0.92 <= coverage <= 0.99


@pytest.mark.parametrize("side", [8, 32])
def test_exact_traces_need_no_more_memory_than_a_chunk_of_tangents(side):
    """D = 192 and 3072: at most (chunk + 4) times the temporary memory of one forward pass."""
    flow = dg.models.load("emoji32")  # convolutional: it takes smaller images as well

    def velocity(params, x):
        return flow.field(params, x, jnp.float32(1.0))[0]

    def temporary(fn):
        x = jax.ShapeDtypeStruct((side, side, 3), jnp.float32)
        return jax.jit(fn).lower(flow.params, x).compile().memory_analysis().temp_size_in_bytes

    forward = temporary(velocity)
    for chunk in (8, 16):  # at 32 and 64 the compiler needs 0.3 and 3.7% more

        def trace(params, x, chunk=chunk):
            return dg.divergence(lambda x: velocity(params, x), x, dg.exact(chunk))[1]

        assert temporary(trace) <= (chunk + 4) * forward


def test_cycled_probes_have_at_most_seven_tenths_of_the_spread():
    """Over whole solves of digits8, against Rademacher probes fresh at every evaluation; emoji32
    stands in studies/benchmarks."""
    flow = dg.models.load("digits8")
    latents = jax.vmap(lambda key: dg.latent(flow, key))(jax.random.split(jax.random.key(4), 8))

    def spread(trace):
        def one(x, key):
            return dg.sample(flow, x, divergence=trace, key=key, steps=63).log_density

        keys = jax.random.split(jax.random.key(5), (8, 16))
        run = jax.jit(lambda: jax.lax.map(lambda a: jax.vmap(one, (None, 0))(*a), (latents, keys)))
        return np.sqrt(np.mean(np.var(run(), axis=1, ddof=1)))

    cycled, fresh = spread(dg.orthogonal(2)), spread(dg.hutchinson(2))
    print("spread of two streams, nats:", cycled, "against", fresh)
    assert cycled < 0.7 * fresh
