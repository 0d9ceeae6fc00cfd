"""Rules of density guidance: what each adds to log p, against the score scaled by hand."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import ndtri
from oracles import closed_form, decode, latents, runge_kutta

import densityguide as dg
from densityguide.steer.limiter import limit

MET = dg.Status.UNMET.value
SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("solver", [diffrax.Bosh3(scan_kind="bounded"), dg.Adams()])
def test_the_middle_quantile_and_no_budget_are_the_plain_flow(small, solver):
    flow, x = small
    plain = decode(flow, x, steps=40, solver=solver)
    middle = jnp.full(12, 0.5)
    for make, values in (
        (dg.quantile, middle),
        (dg.calibrated, middle),
        (dg.budget, jnp.zeros(12)),
    ):
        out = decode(flow, x, values, make, steps=40, solver=solver)
        np.testing.assert_allclose(out.x, plain.x, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(out.tracked, plain.log_density, rtol=1e-12)
        assert (np.asarray(out.unmet) == 0).all()


def uncapped_quantile(q):
    return dg.quantile(q, cap=1e6)


def uncapped_pinned(q):
    return dg.pinned(q, cap=1e6)


def uncapped_calibrated(q):
    return dg.calibrated(q, cap=1e6)


QUANTILES = np.linspace(0.42, 0.58, 12)


def by_hand(flow, x, q, eta):
    """x' = f x + eta sigma^2 / 2 s, and log p by the closed form at its end."""

    def field(t, x):
        score = flow.score(x, t)
        sigma = flow.path.sigma(t)
        power = jnp.sum((sigma * score) ** 2)
        return flow.path.drift(t) * x + 0.5 * eta(x, t, q, power) * sigma**2 * score

    return runge_kutta(field, x, *flow.interval, 800) / flow.end_scale()


def plain_eta(flow):
    return lambda x, t, q, power: 1 + (2 * flow.size) ** 0.5 * ndtri(q) / power


def calibrated_eta(flow):
    spread = dg.knots(flow.calibration.times, flow.calibration.spread)
    return lambda x, t, q, power: 1 + (2 * flow.size) ** 0.5 * spread(t) * ndtri(q) / power


def pinned_eta(flow):
    def eta(x, t, q, power):
        lap = flow.path.sigma(t) ** 2 * dg.worlds.laplacian(flow, x, t)
        h = (lap + power) / (2 * flow.size) ** 0.5
        return 1 + (2 * flow.size) ** 0.5 * (h + ndtri(q)) / power

    return eta


@pytest.mark.parametrize(
    ("make", "eta"),
    [
        (uncapped_quantile, plain_eta),
        (uncapped_calibrated, calibrated_eta),
        (uncapped_pinned, pinned_eta),
    ],
    ids=["quantile", "calibrated", "pinned"],
)
def test_rules_equal_scaling_the_score_by_hand(small, make, eta):
    flow, x = small
    out = decode(flow, x, QUANTILES, make, steps=1500)
    hand = jax.jit(jax.vmap(lambda x, q: by_hand(flow, x, q, eta(flow))))(x, QUANTILES)
    np.testing.assert_allclose(out.x, hand, atol=2e-6)
    np.testing.assert_allclose(out.tracked, closed_form(flow, hand), atol=2e-5)


@pytest.mark.slow
def test_pinned_rate_has_a_closed_form(small):
    """Tracked log p grows by -f D + |sigma s|^2 / 2 + sqrt(2 D) / 2 Phi^-1(q), no trace in it."""
    flow, x = small
    out = decode(flow, x, QUANTILES, uncapped_pinned, steps=1500)

    def field(t, y):
        x, _, q = y
        score, sigma = flow.score(x, t), flow.path.sigma(t)
        power = jnp.sum((sigma * score) ** 2)
        eta = pinned_eta(flow)(x, t, q, power)
        shift = (flow.size / 2) ** 0.5 * ndtri(q)
        rise = -flow.path.drift(t) * flow.size + 0.5 * power + shift
        return flow.path.drift(t) * x + 0.5 * eta * sigma**2 * score, rise, jnp.zeros_like(q)

    def once(x, q):
        return runge_kutta(field, (x, flow.prior.log_prob(x), q), *flow.interval, 800)[1]

    hand = jax.jit(jax.vmap(once))(x, QUANTILES) + flow.size * jnp.log(flow.end_scale())
    np.testing.assert_allclose(out.tracked, hand, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        dg.quantile,
        dg.pinned,
        pytest.param(dg.calibrated, marks=SLOW),
        pytest.param(dg.budget, marks=SLOW),
    ],
)
def test_more_asked_is_more_log_density(small, make):
    flow, x = small
    values = jnp.linspace(-9.0, 9.0, 7) if make is dg.budget else jnp.linspace(0.1, 0.9, 7)
    out = decode(flow, jnp.tile(x, (7, 1)), jnp.repeat(values, 12), make, steps=80)
    means = np.asarray(closed_form(flow, out.x)).reshape(7, 12).mean(axis=1)
    assert (np.diff(means) > 0.3).all()


def as_bits(bits):
    return dg.budget(bits_per_dim=bits)


def time_varying(q):
    return dg.quantile(dg.knots(jnp.asarray([-6.0, 0.0, 4.0]), jnp.stack([q, q, q])))


@pytest.mark.slow
def test_budget_is_the_quantile_rule_in_nats(small):
    """Constant c: total = sqrt(2 D) / 2 Phi^-1(q) span nats; bits/dim times D ln 2; and a
    constant q given as knots."""
    flow, x = small
    q = jnp.asarray(QUANTILES)
    nats = 0.5 * (2 * flow.size) ** 0.5 * ndtri(q) * 10.0
    truth = decode(flow, x, q, dg.quantile, steps=40)
    for make, values in (
        (dg.budget, nats),
        (as_bits, nats / (flow.size * np.log(2))),
        (time_varying, q),
    ):
        out = decode(flow, x, values, make, steps=40)
        np.testing.assert_allclose(out.x, truth.x, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(out.tracked, truth.tracked, rtol=1e-9)


@pytest.mark.parametrize("make", [dg.quantile, pytest.param(dg.budget, marks=SLOW)])
def test_what_a_mode_cannot_give_is_reported(make):
    """D = 4, far more asked than there is: tracked = prior - int div u + requested - unmet."""
    flow = dg.worlds.exact_prior(
        dg.worlds.mixture(
            [0.4, 0.6], [[1.0, 0, 0, -1.0], [-1.0, 0.5, 0, 1.0]], 0.4, log_snr=(-6.0, 5.0)
        )
    )
    x = latents(flow, 12)
    values = jnp.full(12, 0.99 if make is dg.quantile else 60.0)
    out = decode(flow, x, values, make, steps=1500)
    assert np.isfinite(out.x).all()
    assert ((np.asarray(out.status) & MET) != 0).all()
    total = (0.5 * 8**0.5 * ndtri(0.99) * 11.0) if make is dg.quantile else 60.0
    np.testing.assert_allclose(out.tracked, closed_form(flow, out.x), atol=0.1)

    def field(t, y):
        """The base flow's volume along the guided curve, integrated by hand."""
        x, _volume, _unmet = y
        sigma, score = flow.path.sigma(t), flow.score(x, t)
        power = jnp.sum(score**2)
        divergence = dg.worlds.divergence(flow, x, t)
        natural = 0.5 * sigma**2 * power
        bend = jnp.clip(-2 * (divergence / 4 - flow.path.drift(t)), 1e-3, 1.0)
        asked = jnp.asarray(total / 11.0)
        given = limit(asked, natural / bend, jnp.asarray(4.0))
        velocity = flow.velocity(x, t) + given * score / power
        return velocity, divergence, asked - given

    zeros = jnp.zeros(12)
    hand = jax.jit(jax.vmap(lambda *y: runge_kutta(field, y, *flow.interval, 3000)))(
        x, zeros, zeros
    )
    offset = 4 * jnp.log(flow.end_scale())
    start = jax.vmap(flow.prior.log_prob)(x)
    np.testing.assert_allclose(out.unmet, hand[2], atol=0.1)
    np.testing.assert_allclose(out.tracked, start - hand[1] + total - out.unmet + offset, atol=0.1)
    np.testing.assert_allclose(
        closed_form(flow, out.x), start - hand[1] + total - hand[2] + offset, atol=0.1
    )


def test_the_limiter():
    """Exact below half the cap, odd, bounded by the cap, rising, and smooth where it sets in."""
    natural, cap = jnp.asarray(2.0), jnp.asarray(4.0)
    asked = jnp.linspace(-40.0, 40.0, 1601)
    given = jax.vmap(lambda c: limit(c, natural, cap))(asked)
    inside = np.abs(asked) <= 4.0
    np.testing.assert_array_equal(given[inside], asked[inside])
    np.testing.assert_allclose(given, -given[::-1], atol=1e-12)
    assert np.abs(given).max() <= 8.0
    slopes = jax.vmap(jax.grad(lambda c: limit(c, natural, cap)))(asked)
    assert (np.asarray(slopes) >= 0).all()
    assert np.abs(np.diff(slopes)).max() < 0.03
    assert float(limit(jnp.asarray(3.0), jnp.asarray(0.0), cap)) == pytest.approx(0.0, abs=1e-100)
