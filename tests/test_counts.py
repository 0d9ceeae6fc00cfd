"""Every count equals what the network saw: evaluations counted by it, tangents by hand."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg

X64 = False
KEY, X = jax.random.key(1), jnp.asarray([0.4, -0.9, 0.3])
D, N = 3, 6


def counting(seen):
    """A Gaussian's noise prediction that counts its evaluations, however it is compiled."""

    def network(params, x, t):
        jax.debug.callback(lambda _: seen.append(1), x[0])
        return params * x / jnp.sqrt(1.0 + jnp.exp(-t))

    return dg.diffusion(
        network,
        params=jnp.asarray(0.8),
        path=dg.paths.variance_preserving(),
        prediction="noise",
        log_snr=(-4.0, 3.0),
        shape=(D,),
    )


TWO = {"divergence": dg.hutchinson(2), "key": KEY}
EXACT = {"divergence": dg.exact()}
HEUN = {"solver": diffrax.Heun(), "steps": N}
# verb -> (call, evaluations, tangents); a solve of N Adams steps makes N + 1 evaluations
CASES = {
    "plain": (lambda f: dg.sample(f, X, divergence=None, steps=N), N + 1, 0),
    "plain, exact": (lambda f: dg.sample(f, X, steps=N, **EXACT), N + 1, D * (N + 1)),
    "plain, two probes": (lambda f: dg.sample(f, X, steps=N, **TWO), N + 1, 2 * (N + 1)),
    "Heun": (lambda f: dg.sample(f, X, **HEUN, **EXACT), 2 * N, 2 * N * D),
    "log_density": (lambda f: dg.log_density(f, X, steps=N, **TWO), N + 1, 2 * (N + 1)),
    "quantile, tracked": (
        lambda f: dg.sample(f, X, guidance=dg.quantile(0.6), measure=False, steps=N, **TWO),
        N + 1,
        2 * (N + 1),
    ),
    "quantile, measured": (
        lambda f: dg.sample(f, X, guidance=dg.quantile(0.6), steps=N, **TWO),
        2 * (N + 1),
        4 * (N + 1),
    ),
    "quantile, measured alone": (
        lambda f: dg.sample(f, X, guidance=dg.quantile(0.6), tracking=None, steps=N, **TWO),
        2 * (N + 1),
        2 * (N + 1),
    ),
    "pinned, steered apart": (
        lambda f: dg.sample(
            f, X, guidance=dg.pinned(0.6), steering=dg.hutchinson(3), measure=False, steps=N, **TWO
        ),
        N + 1,
        5 * (N + 1),
    ),
    "pinned, one exact trace": (
        lambda f: dg.sample(f, X, guidance=dg.pinned(0.6), measure=False, steps=N, **EXACT),
        N + 1,
        D * (N + 1),
    ),
    "target after a plain solve": (
        lambda f: dg.sample(
            f, X, guidance=dg.target(-3.0), steering=dg.exact(), divergence=None, steps=32
        ),
        33 + 9,
        D * (33 + 9),
    ),
    "noise": (
        lambda f: dg.sample(f, X, noise=dg.noise.constant(0.2), divergence=None, key=KEY, steps=N),
        2 * N,
        0,
    ),
    "edit": (
        lambda f: dg.edit(f, X, guidance=dg.quantile(0.6), steps=N, **TWO),
        4 * (N + 1),  # encoded, decoded, decoded plainly, encoded
        2 * 3 * (N + 1),
    ),
    "edit from a depth": (
        lambda f: dg.edit(f, X, guidance=dg.pinned(0.6), depth=0.0, steps=N, **EXACT),
        5 * (N + 1),
        4 * D * (N + 1),
    ),
    "edit, no trace": (
        lambda f: dg.edit(f, X, guidance=None, depth=0.0, divergence=None, steps=N),
        2 * (N + 1),
        0,
    ),
    "high_density": (
        lambda f: dg.high_density(f, X, switch=0.0, steps=(4, 4), measure=False, **EXACT),
        5 + 5,
        D * 10,
    ),
    "sample_sde": (lambda f: dg.sample_sde(f, X, KEY, measure=False, steps=N), N, 0),
    "sample_sde, measured": (lambda f: dg.sample_sde(f, X, KEY, steps=N), 2 * N + 1, D * (N + 1)),
    "elbo": (lambda f: dg.elbo(f, X, KEY, levels=4, replicates=2), 16, None),
    "track_mode": (
        lambda f: dg.track_mode(f, X, start=0.0, steps=N, **EXACT),
        2 * (N + 1),
        None,
    ),
    "alignment": (lambda f: dg.score_alignment(f, X, steps=N), N + 2, N + 1),
    "alignment, no score": (
        lambda f: dg.score_alignment(f, X, use_score=False, steps=N, **TWO),
        N + 2,
        (1 + 2 * 2) * (N + 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_counts(name):
    call, evaluations, tangents = CASES[name]
    seen = []
    flow = counting(seen)
    seen.clear()
    out = jax.block_until_ready(call(flow))
    jax.effects_barrier()
    assert len(seen) == evaluations
    assert int(out.evaluations) == evaluations
    if tangents is not None:
        assert int(out.tangents) == tangents


def test_landing_counts_every_candidate():
    seen = []
    flow = counting(seen)
    seen.clear()
    out = dg.land(flow, X, -3.0, along=dg.budget, steps=N, iterations=3, **EXACT)
    jax.block_until_ready(out)
    jax.effects_barrier()
    assert int(out.evaluations) == len(seen)
    # Each is decoded and encoded once; an exact trace needs no encoding anew.
    assert int(out.evaluations) == 2 * int(out.iterations) * (N + 1)


@pytest.mark.slow
def test_an_interpolation_counts_its_ends_and_every_candidate():
    seen = []
    flow = counting(seen)
    seen.clear()
    out = dg.interpolate(
        flow, X, -0.5 * X, frames=3, along=dg.budget, steps=N, iterations=2, **EXACT
    )
    jax.block_until_ready(out)
    jax.effects_barrier()
    assert int(out.evaluations.sum()) == len(seen)
    # Every candidate was decoded without a trace, and encoded with one.
    assert (np.asarray(out.tangents) < D * np.asarray(out.evaluations)).all()


def test_bits_count_all_draws():
    seen = []
    flow = counting(seen).replace(transform=dg.data.Dequantise(4))
    seen.clear()
    out = dg.bits_per_dim(flow, np.ones((2, D), np.uint8), KEY, draws=3, steps=N)
    jax.effects_barrier()
    np.testing.assert_array_equal(out.evaluations, [3 * (N + 1)] * 2)
    np.testing.assert_array_equal(out.tangents, [3 * D * (N + 1)] * 2)
    assert len(seen) == 6 * (N + 1)
