"""Energies of curves: order, brackets, exact cases, and log p along the way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curves import at, energy, eta_of, few, pair, straight_psi, wave

import densityguide as dg
from densityguide.spacetime import Point

COUNTS = (16, 32, 64, 128)


@pytest.fixture(scope="module")
def found():
    flow = few()
    return {n: energy(flow, wave(flow, n)) for n in COUNTS}


def integrals(flow, count=4000):
    """``E = int |dgamma|^2 / 2`` and ``int eta'' . mu'' ds`` of `wave`, from the closed psi."""
    curve = wave(flow, count)
    eta = jax.vmap(eta_of)(curve)
    mu = jax.jit(jax.vmap(jax.grad(straight_psi(flow))))(eta)
    step = 1.0 / count
    speed = jnp.sum(jnp.diff(eta, axis=0) * jnp.diff(mu, axis=0), axis=1) / step**2
    second = jnp.sum(jnp.diff(eta, 2, axis=0) * jnp.diff(mu, 2, axis=0), axis=1) / step**4
    return 0.5 * float(speed.mean()), float(second.sum() * step)


def test_energies_converge_from_both_sides_with_their_known_coefficient(found):
    """E_n = E - int eta'' . mu'' ds / (24 n^2) + O(n^-4)."""
    exact, second = integrals(few())
    errors = np.asarray([n**2 * (float(found[n].energy) - exact) for n in COUNTS])
    assert errors[-1] == pytest.approx(-second / 24.0, rel=0.01)
    richardson = (4.0 * float(found[64].energy) - float(found[32].energy)) / 3.0
    assert abs(richardson - exact) < 0.05 * abs(float(found[64].energy) - exact)


def test_lengths_and_bounds_are_ordered_for_every_polygon(found):
    for out in found.values():
        assert float(out.length) <= float(out.bound)
        np.testing.assert_allclose(out.speed, 2.0 * out.energy / out.length**2)
        np.testing.assert_allclose(out.bound, np.sqrt(2.0 * out.energy))
        assert int(out.negative) == 0
        assert int(out.status) == dg.Status.OK


@pytest.mark.slow
def test_log_density_along_a_curve_needs_no_ode_and_is_of_fourth_order(found):
    flow = few()
    for n, out in found.items():
        curve = wave(flow, n)
        alpha = flow.path.alpha(curve.log_snr)
        truth = jax.vmap(flow.log_density)(alpha[:, None] * curve.y, curve.log_snr)
        truth += flow.size * jnp.log(alpha)
        np.testing.assert_allclose(out.log_density[0], truth[0], rtol=1e-10)
        gap = np.abs(np.asarray(out.log_density - truth))
        assert gap[::2].max() < 40.0 / n**3.5
        assert float(out.closure) == pytest.approx(float((out.log_density - truth)[-1]), abs=1e-9)
    closures = [abs(float(found[n].closure)) for n in (32, 64, 128)]
    np.testing.assert_allclose(np.divide(closures[:-1], closures[1:]), 16.0, rtol=0.25)


@pytest.mark.parametrize("line", ["e", "m"])
def test_straight_lines_have_half_the_jeffreys_divergence_at_every_count(line):
    """Straight in eta, and straight in mu: E_n = J / 2."""
    flow = few()
    a, b = at(flow, [0.4, -0.3, 0.9], 1.0), at(flow, [0.1, 0.2, 0.7], 2.0)
    jeffreys = float(dg.spacetime.divergence(flow, a, b).jeffreys)
    psi = straight_psi(flow)
    s = jnp.linspace(0.0, 1.0, 6)[:, None]
    first, last = eta_of(a), eta_of(b)
    eta = first + s * (last - first)
    if line == "m":
        mean = jax.grad(psi)
        target = mean(first) + s * (mean(last) - mean(first))
        hessian = jax.hessian(psi)

        @jax.jit
        @jax.vmap
        def solve(eta, target):
            def newton(_, eta):
                return eta - jnp.linalg.solve(hessian(eta), mean(eta) - target)

            return jax.lax.fori_loop(0, 20, newton, eta)

        eta = solve(eta, target)
    nu = -2.0 * eta[:, -1]
    curve = Point(eta[:, :-1] / nu[:, None], jnp.log(nu))
    np.testing.assert_allclose(energy(flow, curve).energy, 0.5 * jeffreys, rtol=1e-8)


def test_a_single_precision_chord_at_low_noise_keeps_its_digits():
    """Chords are centred: nu |x0|^2 is 10^4 times the chord here."""
    flow = few()
    exact = energy(flow, Point(*_low(64, jnp.float64))).chords
    with jax.enable_x64(False):
        single = few.__wrapped__()
        found = energy(single, Point(*_low(64, jnp.float32))).chords
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=2e-3)


def _low(count, dtype):
    s = jnp.linspace(0.0, 1.0, count + 1, dtype=dtype)
    y = jnp.asarray([0.4, -0.3, 0.9], dtype) + s[:, None] * jnp.asarray([0.5, 0.5, -0.5], dtype)
    return y, 8.0 + 0.5 * s


def test_a_curve_backwards_is_the_same_curve():
    flow = few()
    curve = wave(flow, 32)
    forward, back = energy(flow, curve), energy(flow, Point(curve.y[::-1], curve.log_snr[::-1]))
    np.testing.assert_allclose(back.energy, forward.energy, rtol=1e-12)
    np.testing.assert_allclose(back.log_density[::-1], forward.log_density, atol=0.02)


def test_two_points_are_a_curve():
    flow = few()
    a, b = pair(flow)
    curve = Point(jnp.stack([a.y, b.y]), jnp.stack([a.log_snr, b.log_snr]))
    out = energy(flow, curve)
    np.testing.assert_allclose(2.0 * out.energy, dg.spacetime.divergence(flow, a, b).jeffreys)
    assert int(out.evaluations) == 2
    assert int(out.tangents) == 6
