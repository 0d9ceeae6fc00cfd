"""Measuring never moves a sample: whether and however log p is reported, x is the same."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import closed_form, encode, latents, world

import densityguide as dg

KEY = jax.random.key(3)
GUIDANCES = {
    "plain": None,
    "quantile": dg.quantile(0.6),
    "pinned": dg.pinned(0.6),
    "budget": dg.budget(1.5),
    "rate": dg.rate(lambda x, t: -1.0 + 0.0 * t),
    "target": dg.target(-12.0),
}
REPORTS = {
    "nothing": {"divergence": None},
    "exact": {"divergence": dg.exact()},
    "estimated": {"divergence": dg.hutchinson(3)},
    "unmeasured": {"divergence": dg.orthogonal(2), "measure": False},
    "untracked": {"divergence": dg.exact(), "tracking": None},
    "tracked apart": {"divergence": dg.exact(), "tracking": dg.orthogonal(2)},
}


@pytest.fixture(scope="module")
def flow():
    return world("mixture12", ends=(-6.0, 4.0))


def samples(flow, **options):
    x = latents(flow, 1, seed=1)[0]
    draw = jax.jit(
        lambda flow, x: [
            dg.sample(flow, x, key=KEY, **options, **report) for report in REPORTS.values()
        ]
    )
    return draw(flow, x)


def alike(outs):
    for out in outs[1:]:
        np.testing.assert_allclose(out.x, outs[0].x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(out.unmet, outs[0].unmet, rtol=0, atol=1e-10)


QUICK = ("quantile",)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in GUIDANCES],
)
def test_of_every_guidance(flow, name):
    alike(samples(flow, guidance=GUIDANCES[name], steps=24))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["stratonovich", "ito", "ito_probe"])
def test_of_every_noise(flow, form):
    noise = dg.noise.constant(0.3, form=form)
    alike(samples(flow, guidance=dg.quantile(0.6), noise=noise, steps=24))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"solver": dg.Adams(4), "steps": 32},
        {"solver": diffrax.Heun(), "steps": 32},
        {"rtol": 1e-4},
        {"rtol": 1e-4, "solver": diffrax.Tsit5()},
    ],
    ids=["adams4", "heun", "adaptive", "tsit5"],
)
def test_of_every_solver(flow, options):
    alike(samples(flow, guidance=dg.quantile(0.6), **options))


@pytest.mark.slow
def test_the_specimen():
    """Four dimensions, 64 steps: x_1 was another with the exact trace than without."""
    flow = dg.worlds.mixture([0.5, 0.5], [[1.0] * 4, [-1.0] * 4], 0.4)
    x = latents(flow, 1)[0]
    outs = [
        dg.sample(flow, x, guidance=dg.quantile(0.6), steps=64, key=KEY, **report)
        for report in REPORTS.values()
    ]
    alike(outs)


@pytest.mark.slow
def test_what_is_measured_is_the_encoding(flow):
    x = latents(flow, 4)
    run = jax.jit(jax.vmap(lambda x: dg.sample(flow, x, guidance=dg.quantile(0.6), steps=48)))
    out = run(x)
    again = encode(flow, out.x, steps=48)
    np.testing.assert_allclose(out.log_density, again.value, rtol=1e-12)
    np.testing.assert_allclose(out.log_density, closed_form(flow, out.x), atol=2e-2)
    assert np.all(out.evaluations > again.evaluations)


def test_declining_leaves_only_what_was_tracked(flow):
    x = latents(flow, 1)[0]
    out = dg.sample(flow, x, guidance=dg.quantile(0.6), measure=False, steps=8)
    assert out.log_density is None
    assert out.total_error is None
    assert jnp.isfinite(out.tracked)
    plain = dg.sample(flow, x, measure=False, steps=8)
    assert plain.log_density == plain.tracked


@pytest.mark.parametrize(
    "guidance", [dg.quantile(0.6), dg.target(-12.0)], ids=["quantile", "target"]
)
def test_tracking_nothing_leaves_what_was_measured(flow, guidance):
    x = latents(flow, 1)[0]
    both = dg.sample(flow, x, guidance=guidance, steps=24)
    out = dg.sample(flow, x, guidance=guidance, tracking=None, steps=24)
    assert out.tracked is None
    assert out.tracked_error is None
    assert out.path is None
    np.testing.assert_allclose(out.log_density, both.log_density, rtol=1e-12)
    np.testing.assert_allclose(out.total_error, both.total_error, rtol=1e-9)
    alone = dg.sample(flow, x, guidance=guidance, divergence=None, tracking=dg.exact(), steps=24)
    assert alone.log_density is None
    np.testing.assert_allclose(alone.tracked, both.tracked, rtol=1e-12)
    plain = dg.sample(flow, x, tracking=None, steps=24)
    assert plain.log_density == dg.sample(flow, x, steps=24).log_density


def test_a_failed_decoding_has_no_log_p(flow):
    x = latents(flow, 1)[0]
    out = dg.sample(flow, x, guidance=dg.quantile(0.9), rtol=1e-7, max_steps=12)
    assert int(out.status) & int(dg.Status.MAX_STEPS)
    assert np.isnan(out.log_density)
    assert np.isnan(out.total_error)


@pytest.mark.slow
def test_a_wrong_score_is_told():
    """The velocity of one Gaussian with the score of another: tracked is far from encoded."""
    flow = dg.worlds.gaussian(np.zeros(2), np.eye(2) * 0.25)

    def score(p, x, t):
        return 3.0 * flow.score(x, t)

    lying = dg.cnf(
        lambda p, x, t: flow.velocity(x, t),
        params=(),
        prior=flow.prior,
        interval=flow.interval,
        shape=(2,),
        score=score,
    )
    x = jnp.asarray([0.5, -1.0])
    honest = dg.sample(flow, x, guidance=dg.budget(0.3), steps=64)
    out = dg.sample(lying, x, guidance=dg.budget(0.3), steps=64)
    assert not int(honest.status) & int(dg.Status.DISAGREES)
    assert int(out.status) & int(dg.Status.DISAGREES)
    assert abs(float(out.log_density - out.tracked)) > 0.05
