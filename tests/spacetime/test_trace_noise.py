"""Noise of estimated traces: its formula, its error bar, and that no minimum is flattered."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curves import few, pair
from oracles import gaussian

import densityguide as dg
from densityguide.spacetime.chords import trace_weights

SEGMENTS, KEYS = 16, 600


@pytest.fixture(scope="module")
def dense():
    """A dense Gaussian, a curve in it, V_i = 2 (|C|_F^2 - sum C_jj^2) of C = Cov(eps), and the
    energy's weights."""
    flow = gaussian(6, exact=False)
    a, b = pair(flow, level=3.0)
    curve = dg.spacetime.arc(flow, a, b, segments=SEGMENTS)
    params = flow.params
    nu = np.exp(np.asarray(curve.log_snr))
    share = nu[:, None] / (nu[:, None] + 1.0 / np.asarray(params.variances))
    basis = np.asarray(params.basis)
    covariances = np.einsum("ij,nj,kj->nik", basis, share, basis)
    squares = np.sum(covariances**2, axis=(1, 2))
    variances = 2.0 * (squares - np.sum(np.einsum("nii->ni", covariances) ** 2, axis=1))
    weights = np.asarray(trace_weights(curve.log_snr)[0])
    return flow, curve, variances, weights


@partial(jax.jit, static_argnames=("divergence", "ends"))
def energies(flow, curve, divergence, ends, keys):
    def one(key):
        return dg.spacetime.curve_energy(flow, curve, divergence=divergence, ends=ends, key=key)

    return jax.vmap(one)(keys)


@pytest.mark.slow
@pytest.mark.parametrize("at_ends", [None, 2])
def test_variance_of_an_energy_is_that_of_its_formula(dense, at_ends):
    """Var E = sum w_i^2 V_i / K, w_i = (n / 2) second differences of eta (first at the ends)."""
    flow, curve, variances, weights = dense
    ends = dg.exact() if at_ends is None else dg.hutchinson(at_ends)
    keys = jax.random.split(jax.random.key(1), KEYS)
    out = energies(flow, curve, dg.hutchinson(2), ends, keys)
    truth = dg.spacetime.curve_energy(flow, curve)
    parts = weights**2 * variances / 2.0
    expected = parts[1:-1].sum() if at_ends is None else parts.sum()
    found = np.var(np.asarray(out.energy))
    assert found == pytest.approx(expected, rel=5.0 * (2.0 / KEYS) ** 0.5)
    # Unbiased, and its error bar is right on average.
    assert abs(out.energy.mean() - truth.energy) < 4.0 * (expected / KEYS) ** 0.5
    errors = np.asarray(out.standard_error * out.bound)
    assert np.mean(errors**2) == pytest.approx(expected, rel=0.15)
    assert (np.asarray(out.degrees_of_freedom) >= 1.0).all()


@pytest.mark.slow
def test_noise_inside_averages_and_that_of_the_ends_does_not():
    """Four times the points: a quarter of the variance inside, the same at the ends."""
    flow = gaussian(6, exact=False)
    a, b = pair(flow, level=3.0)
    squares = []
    for segments in (64, 256):
        curve = dg.spacetime.arc(flow, a, b, segments=segments)
        squares.append(np.asarray(trace_weights(curve.log_snr)[0]) ** 2)
    inside = [np.sum(w[1:-1]) for w in squares]
    ends = [w[0] + w[-1] for w in squares]
    assert inside[0] / inside[1] == pytest.approx(4.0, rel=0.05)
    assert ends[0] / ends[1] == pytest.approx(1.0, rel=0.1)


@pytest.mark.slow
def test_many_probes_at_the_ends_by_default(dense):
    flow, curve, variances, weights = dense
    keys = jax.random.split(jax.random.key(2), KEYS)
    out = energies(flow, curve, dg.hutchinson(2), None, keys)
    each = np.full(SEGMENTS + 1, 2.0)
    each[[0, -1]] = 2 * (SEGMENTS - 1)
    expected = np.sum(weights**2 * variances / each)
    assert np.var(np.asarray(out.energy)) == pytest.approx(expected, rel=0.3)
    assert int(out.tangents[0]) == 2 * (SEGMENTS - 1) + 2 * 2 * (SEGMENTS - 1)


def test_a_common_probe_would_not_average(dense):
    """Probes are fresh at every point: with one for all, interior errors would add up."""
    _, _, variances, weights = dense
    fresh = np.sum(weights[1:-1] ** 2 * variances[1:-1])
    common = np.sum(np.abs(weights[1:-1]) * variances[1:-1] ** 0.5) ** 2
    assert common > 3.0 * fresh


@pytest.mark.slow
def test_what_steers_does_not_report():
    """The bound of a curve found with probes is that of the curve, on average; the value that
    the descent saw is below it."""
    flow = gaussian(4, exact=False)
    a, b = pair(flow, level=2.0)
    keys = jax.random.split(jax.random.key(3), 128)
    trace = dg.hutchinson(2)

    @jax.jit
    @jax.vmap
    def found(key):
        out = dg.geodesic(flow, a, b, segments=8, divergence=trace, ends=dg.exact(), key=key)
        return out, dg.spacetime.curve_energy(flow, out.curve)

    out, truth = found(keys)
    gap = np.asarray(out.energy - truth.energy)
    assert abs(gap.mean()) < 4.0 * gap.std() / len(gap) ** 0.5
    assert int(truth.negative.max()) == 0


@pytest.mark.slow
def test_a_few_probes_steer_as_well_as_an_exact_trace():
    flow = few(12)
    a, b = pair(flow, seed=5, level=6.0, apart=0.8)
    exact = dg.geodesic(flow, a, b, span="free")
    steered = dg.geodesic(flow, a, b, span="free", steer=dg.hutchinson(4), key=jax.random.key(0))
    assert float(steered.standard_error) == 0.0
    assert float(steered.bound) < 1.02 * float(exact.bound)
    assert int(steered.tangents) < int(exact.tangents) // 2
    assert jnp.isinf(steered.degrees_of_freedom)
