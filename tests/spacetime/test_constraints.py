"""Curves that are asked for more than to be short."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curves import at, few

import densityguide as dg
from densityguide import spacetime

EXACT = {"span": "free", "iterations": 150}


@pytest.fixture(scope="module")
def setting():
    flow = few(2)
    return flow, at(flow, [-1.0, 0.6], 3.0), at(flow, [1.0, -0.5], 3.0)


def log_p(flow, curve):
    alpha = flow.path.alpha(curve.log_snr)
    values = jax.vmap(flow.log_density)(alpha[:, None] * curve.y, curve.log_snr)
    return values + flow.size * jnp.log(alpha)


@pytest.mark.slow
def test_log_density_can_be_held(setting):
    flow, a, b = setting
    plain = dg.geodesic(flow, a, b, **EXACT)
    held = dg.geodesic(flow, a, b, constraint=spacetime.hold(1000.0), **EXACT)
    truth = np.asarray(log_p(flow, held.curve))
    line = truth[0] + np.linspace(0.0, 1.0, len(truth)) * (truth[-1] - truth[0])
    assert np.abs(truth - line).max() < 0.2
    free = np.asarray(log_p(flow, plain.curve))
    assert np.abs(free - line).max() > 0.5
    assert float(held.bound) > float(plain.bound)
    assert float(held.unmet) < 0.1
    assert int(held.status) == dg.Status.OK


@pytest.mark.slow
def test_log_density_can_follow_a_schedule(setting):
    flow, a, b = setting
    change = float(
        log_p(flow, jax.tree.map(lambda x, y: jnp.stack([x, y]), a, b)) @ jnp.asarray([-1.0, 1.0])
    )
    s = np.linspace(0.0, 1.0, 17)
    wanted = s * change - 1.5 * np.sin(np.pi * s)
    constraint = spacetime.schedule(wanted, 1000.0)
    out = dg.geodesic(flow, a, b, constraint=constraint, **EXACT)
    truth = np.asarray(log_p(flow, out.curve))
    np.testing.assert_allclose(truth - truth[0], wanted, atol=0.2)
    asked = spacetime.schedule(wanted - 40.0 * np.sin(np.pi * s), 1e-3)
    weak = dg.geodesic(flow, a, b, constraint=asked, **EXACT)
    assert dg.Status.UNMET in dg.Status(int(weak.status))
    assert float(weak.unmet) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["avoid", "near"])
def test_regions_are_kept_out_of_and_kept_to_in_absolute_nats(setting, kind):
    """KL to every point of the curve, against `divergence` with the closed form."""
    flow, a, b = setting
    plain = dg.geodesic(flow, a, b, **EXACT)
    middle = jax.tree.map(lambda x: x[8], plain.curve)

    def apart(curve):
        one = jax.vmap(lambda p: spacetime.divergence(flow, middle, p).forward)
        return np.asarray(jax.jit(one)(jax.tree.map(lambda x: x[jnp.arange(17) != 8], curve)))

    if kind == "avoid":
        constraint = spacetime.avoid(middle, 1.5, 300.0)
        out = dg.geodesic(flow, a, b, constraint=constraint, **EXACT)
        assert apart(plain.curve).min() < 0.2
        assert apart(out.curve).min() > 1.35
    else:
        farthest = apart(plain.curve)[1:-1].max()
        constraint = spacetime.near(middle, 0.9 * farthest, 300.0)
        out = dg.geodesic(flow, a, b, constraint=constraint, **EXACT)
        assert apart(out.curve)[1:-1].max() < farthest
    assert float(out.bound) > float(plain.bound)
    assert np.isfinite(out.unmet)
