"""Geodesics: closed-form distances, the axioms of a metric, and false gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curves import at, energy, eta_of, few, many, pair, stack, straight_psi
from jax import lax

import densityguide as dg
from densityguide.spacetime import Point
from densityguide.spacetime.geodesic import _geodesic
from densityguide.spacetime.hyperbolic import arc


def ball(size, variance=1.5):
    """Data N(mean, variance I)."""
    mean = np.linspace(-0.3, 0.4, size)
    return dg.worlds.gaussian(mean, variance * np.eye(size), log_snr=(-12.0, 10.0))


def distance(flow, a, b):
    variance = flow.params.variances[0]
    return float(dg.spacetime.gaussian_distance(a, b, flow.params.mean, variance))


@pytest.mark.parametrize(
    "size", [1, pytest.param(3, marks=pytest.mark.slow), pytest.param(12, marks=pytest.mark.slow)]
)
def test_gaussian_data_have_their_closed_form_distance(size):
    """sqrt(2 D) arcosh(1 + ...), from above, with an error that falls as 1 / n^2."""
    flow = ball(size)
    rng = np.random.default_rng(size)
    a, b = at(flow, rng.normal(size=size), 2.5), at(flow, rng.normal(size=size), 4.0)
    truth = distance(flow, a, b)
    excess = []
    for segments in (8, 16):
        out = dg.geodesic(flow, a, b, segments=segments, span="free", iterations=40)
        excess.append(float(out.bound) - truth)
        assert truth < float(out.length) <= float(out.bound)
        assert float(out.speed) < 1.001
        assert abs(float(out.closure)) < 3.0 * (8 / segments) ** 4
    assert excess[0] / excess[1] == pytest.approx(4.0, rel=0.05)
    assert excess[1] < 1e-2 * truth


@pytest.mark.slow
def test_the_line_through_the_ends_is_enough_in_one_dimension_and_a_bound_in_more():
    line, space = ball(1), ball(3)
    for flow, same in ((line, True), (space, False)):
        a, b = pair(flow, seed=2, level=4.0)
        free = dg.geodesic(flow, a, b, segments=8, span="free", iterations=40).bound
        plane = dg.geodesic(flow, a, b, segments=8, iterations=40).bound
        assert distance(flow, a, b) < float(free) <= float(plane) * (1.0 + 1e-6)
        assert (float(plane) == pytest.approx(float(free), rel=1e-5)) == same


@pytest.fixture(scope="module")
def square():
    """All ordered pairs of five points of a mixture, and their bounds."""
    flow = few(2)
    rng = np.random.default_rng(4)
    points = [
        at(flow, y, level)
        for y, level in zip(rng.normal(size=(5, 2)), (2, 3, 4, 3, 2), strict=True)
    ]
    rows, columns = np.nonzero(~np.eye(5, dtype=bool))
    firsts, lasts = (stack([points[i] for i in places]) for places in (rows, columns))
    out = many(flow, firsts, lasts, span="free", iterations=40)
    table = np.zeros((5, 5))
    table[rows, columns] = out.bound
    return flow, firsts, lasts, out, table


def test_bounds_are_symmetric_and_obey_the_triangle_inequality(square):
    table = square[-1]
    np.testing.assert_allclose(table, table.T, rtol=2e-4)
    for i, j, k in np.ndindex(5, 5, 5):
        assert table[i, j] <= (table[i, k] + table[k, j]) * (1.0 + 2e-3)


def test_bounds_lie_between_the_hellinger_angle_and_the_root_of_jeffreys(square):
    """2 arccos BC <= d <= sqrt(J)."""
    flow, firsts, lasts, out, _ = square
    psi = straight_psi(flow)

    @jax.jit
    @jax.vmap
    def bracket(a, b):
        left, right = eta_of(a), eta_of(b)
        overlap = jnp.exp(psi(0.5 * (left + right)) - 0.5 * (psi(left) + psi(right)))
        return 2.0 * jnp.arccos(jnp.minimum(overlap, 1.0))

    root = jax.jit(jax.vmap(lambda a, b: dg.spacetime.divergence(flow, a, b).jeffreys))
    assert (np.asarray(out.length) >= np.asarray(bracket(firsts, lasts))).all()
    assert (np.asarray(out.bound) <= np.sqrt(root(firsts, lasts))).all()


def test_vmap_is_one_by_one_and_numbers_do_not_compile_anew(square):
    flow, firsts, lasts, out, _ = square
    before = _geodesic._cache_size()
    for i in (0, 7):
        a, b = (jax.tree.map(lambda x, i=i: x[i], side) for side in (firsts, lasts))
        one = dg.geodesic(flow, a, b, span="free", iterations=40)
        np.testing.assert_allclose(one.bound, out.bound[i], rtol=1e-6)
    other = dg.spacetime.point(flow, np.asarray([0.1, -0.2], np.float32), 3)
    scaled = flow.replace(params=flow.params._replace(weights=flow.params.weights[::-1]))
    dg.geodesic(scaled, a, other, span="free", iterations=40)
    assert _geodesic._cache_size() == before + 1


@pytest.mark.slow
def test_twelve_gradients_from_the_arc_are_enough():
    flow = few(12)
    a, b = pair(flow, seed=5, level=6.0, apart=0.8)
    short = dg.geodesic(flow, a, b, segments=32, span="free")
    long = dg.geodesic(flow, a, b, segments=32, span="free", iterations=80)
    straight = Point(
        *(
            a_ + jnp.linspace(0, 1, 33).reshape(-1, *[1] * a_.ndim) * (b_ - a_)
            for a_, b_ in zip(a, b, strict=True)
        )
    )
    assert float(short.energy) < 1.01 * float(long.energy)
    assert float(short.start_energy) < 1.5 * float(long.energy)
    assert float(energy(flow, straight).energy) > 5.0 * float(long.energy)
    assert int(short.gradients) == 13
    assert int(short.evaluations) == 13 * 31 + 2 + 33


def test_the_arc_is_the_geodesic_of_hyperbolic_space():
    """Equal distances along it that add up, and its ends as given."""
    from densityguide.spacetime.hyperbolic import distance as hyperbolic

    flow = few(3)
    a, b = at(flow, [0.4, -0.3, 0.9], 3.0), at(flow, [-1.0, 0.2, 0.1], 5.0)
    shares, levels = arc(a, b, 8)
    y, t = a.y + shares[:, None] * (b.y - a.y), jnp.exp(-0.5 * levels)
    parts = jax.vmap(hyperbolic)(y[1:], t[1:], y[:-1], t[:-1])
    whole = hyperbolic(a.y, t[0], b.y, t[-1])
    np.testing.assert_allclose(parts, whole / 8.0, rtol=1e-9)
    near = arc(a, Point(a.y + 1e-9, a.log_snr), 4)
    np.testing.assert_allclose(near[0], [0.0, 0.25, 0.5, 0.75, 1.0], atol=1e-6)
    np.testing.assert_allclose(near[1], 3.0, atol=1e-6)


@pytest.mark.slow
def test_low_noise_adds_a_known_constant():
    """The distance grows by sqrt(D / 2) per unit of log-SNR of each end."""
    flow = few(6)
    bounds = []
    for level in (7.0, 9.0):
        a, b = pair(flow, seed=3, level=level, apart=0.7)
        bounds.append(float(dg.geodesic(flow, a, b, segments=64, span="free").bound))
    assert (bounds[1] - bounds[0]) / 4.0 == pytest.approx(3.0**0.5, rel=0.03)


def _gradients(flow, eta):
    """Of E_n by eta: true, with mu stopped, and with eta stopped outside of mu; in units of eta,
    inner points only."""
    psi = jax.grad(straight_psi(flow))

    def value(eta, stop):
        mu = jax.vmap(psi)(lax.stop_gradient(eta) if stop == "mu" else eta)
        known = lax.stop_gradient(eta) if stop == "eta" else eta
        return 0.5 * (eta.shape[0] - 1) * jnp.sum(jnp.diff(known, axis=0) * jnp.diff(mu, axis=0))

    @jax.jit
    def norms(eta):
        return {
            stop: jnp.linalg.norm((jax.grad(value)(eta, stop) * jnp.abs(eta))[1:-1])
            for stop in ("none", "mu", "eta")
        }

    return norms(eta), value(eta, "none")


@pytest.mark.slow
def test_stop_gradients_lead_elsewhere():
    """With eta stopped the gradient vanishes on the line straight in eta, whose energy is J / 2,
    and not on the geodesic; the true gradient is the other way round."""
    flow = few(3)
    a, b = at(flow, [0.4, -0.3, 0.9], 3.0), at(flow, [-1.0, 0.2, 0.1], 4.0)
    found = dg.geodesic(flow, a, b, segments=8, span="free", iterations=80)
    first, last = eta_of(a), eta_of(b)
    line, half = _gradients(flow, first + jnp.linspace(0.0, 1.0, 9)[:, None] * (last - first))
    short, least = _gradients(flow, jax.vmap(eta_of)(found.curve))
    jeffreys = float(dg.spacetime.divergence(flow, a, b).jeffreys)
    assert float(line["eta"]) < 1e-9 * float(line["none"])
    assert float(short["none"]) < 1e-2 * min(float(short["eta"]), float(short["mu"]))
    np.testing.assert_allclose(half, 0.5 * jeffreys, rtol=1e-9)
    np.testing.assert_allclose(least, found.energy, rtol=1e-9)
    assert float(found.energy) < 0.6 * float(half)


@pytest.mark.slow
def test_clipping_coordinate_by_coordinate_is_wrong():
    """Only the sum d eta . d mu is a divergence; its terms may be negative with exact means."""
    flow = few(12)
    a, b = pair(flow, seed=5, level=6.0, apart=0.8)
    out = dg.geodesic(flow, a, b, segments=32, span="free")
    eta = jax.vmap(eta_of)(out.curve)
    mu = jax.jit(jax.vmap(jax.grad(straight_psi(flow))))(eta)
    terms = jnp.diff(eta, axis=0) * jnp.diff(mu, axis=0)
    np.testing.assert_allclose(16.0 * jnp.sum(terms), out.energy, rtol=1e-8)
    assert (jnp.sum(terms, axis=1) > 0).all()
    assert float(16.0 * jnp.sum(jnp.maximum(terms, 0.0))) > 1.05 * float(out.energy)


@pytest.mark.parametrize("seed", range(3))
def test_every_polygon_is_a_bound(seed):
    """d <= L_n <= sqrt(2 E_n) for points thrown down anyhow."""
    flow = ball(3)
    rng = np.random.default_rng(seed)
    curve = Point(jnp.asarray(rng.normal(size=(5, 3))), jnp.asarray(rng.uniform(0.0, 6.0, 5)))
    out = energy(flow, curve)
    ends = [Point(curve.y[i], curve.log_snr[i]) for i in (0, -1)]
    assert distance(flow, *ends) <= float(out.length) <= float(out.bound)


def test_bad_numbers_inside_a_batch_are_a_status():
    flow = few(2)
    y = jnp.asarray([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [np.nan, 1.0]])
    levels = jnp.asarray([3.0, 3.0, 12.0, 3.0])
    b = at(flow, [0.0, 1.0], 3.0)
    other = at(flow, [1.0, 0.0], 3.0)
    ends = stack([b, other, other, other])
    out = many(flow, Point(y, levels), ends, segments=4, iterations=2)
    status = [dg.Status(int(value)) for value in out.status]
    assert dg.Status.INVALID in status[0]
    assert status[1] == dg.Status.OK
    assert dg.Status.INVALID in status[2]
    assert dg.Status.NON_FINITE in status[3]
    assert np.isfinite(out.bound[1])


def test_one_chord_is_the_root_of_jeffreys():
    flow = few(2)
    a, b = pair(flow)
    out = dg.geodesic(flow, a, b, segments=1)
    jeffreys = dg.spacetime.divergence(flow, a, b).jeffreys
    np.testing.assert_allclose(out.bound, jeffreys**0.5)
    assert int(out.gradients) == 0


def test_no_step_is_taken_to_a_negative_chord():
    """Of a random network, which is no posterior's: descended freely, four of these five curves end
    with negative chords."""
    rng = np.random.default_rng(0)
    inner = jnp.asarray(1.5 * rng.normal(size=(16, 2)))
    outer = jnp.asarray(rng.normal(size=(2, 16)))

    def noise(params, x, t):
        share = jax.nn.sigmoid(-t)
        return x * share**0.5 + params[1] @ jnp.tanh(params[0] @ x) * (1.0 - share)

    path = dg.paths.variance_preserving()
    options = {"path": path, "prediction": "noise", "log_snr": (-8.0, 8.0), "shape": (2,)}
    flow = dg.diffusion(noise, params=[inner, outer], **options)
    sound = 0
    for y in rng.normal(size=(5, 2, 2)):
        a, b = (dg.spacetime.point(flow, end, 3.0) for end in y)
        start = dg.spacetime.curve_energy(flow, dg.spacetime.arc(flow, a, b, segments=8))
        out = dg.geodesic(flow, a, b, segments=8, iterations=20)
        if int(start.negative):
            assert int(out.moved) == 0
            assert np.isinf(out.start_energy)
            assert float(out.bound) == pytest.approx(float(start.bound))
            continue
        sound += 1
        assert int(out.negative) == 0
        assert int(out.moved) > 0
        assert float(out.bound) < float(start.bound)
    assert 0 < sound < 5
