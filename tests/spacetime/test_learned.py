"""Learned networks: chords of the wrong sign, closure, and what the default span holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide import spacetime
from densityguide.spacetime import kinks

X64 = False


def points(flow, count, level=3.0, seed=0, **options):
    """Samples of the flow itself as points."""
    keys = jax.random.split(jax.random.key(seed), count)

    @jax.jit
    def draw(keys):
        return jax.lax.map(
            lambda key: dg.sample(flow, dg.latent(flow, key), divergence=None, **options).x, keys
        )

    return spacetime.Point(draw(keys), jnp.full((count,), level))


def one(pair, index):
    return jax.tree.map(lambda x: x[index], pair)


@pytest.mark.slow
def test_an_arc_between_digits_is_sound_evidence():
    """No negative chord at log-SNR 3; a free curve thrown far out has some, and says so."""
    flow = dg.models.load("digits8")
    pair = points(flow, 2, steps=16)
    arc = spacetime.arc(flow, one(pair, 0), one(pair, 1), segments=8)
    options = {"divergence": dg.hutchinson(4), "ends": dg.hutchinson(16), "key": jax.random.key(0)}
    out = spacetime.curve_energy(flow, arc, **options)
    assert int(out.negative) == 0
    assert int(out.status) == dg.Status.OK
    assert 0.0 < float(out.standard_error) < 0.05 * float(out.bound)
    assert (out.log_density, out.closure) == (None, None)
    noise = 2.0 * jax.random.normal(jax.random.key(1), arc.y.shape)
    wild = spacetime.Point(arc.y + noise, arc.log_snr)
    out = spacetime.curve_energy(flow, wild, **options)
    assert np.isfinite(out.length)


@pytest.mark.slow
def test_the_line_through_two_digits_holds_and_free_curves_do_not():
    flow = dg.models.load("digits8")
    pairs = points(flow, 6, steps=32)
    firsts, lasts = (one(pairs, half) for half in (slice(0, 3), slice(3, 6)))
    steer, keys = dg.hutchinson(4), jax.random.split(jax.random.key(2), 3)

    def found(span, iterations):
        options = {"span": span, "iterations": iterations, "steer": steer, "closure_steps": 32}

        @jax.jit
        def each(args):
            return jax.lax.map(lambda a: dg.geodesic(flow, *a[:2], key=a[2], **options), args)

        return each((firsts, lasts, keys))

    plane, free = found("plane", 8), found("free", 15)
    assert (np.asarray(plane.negative) == 0).all()  # 1 of 24 pairs in the study has some
    assert np.asarray(plane.negative).sum() < np.asarray(free.negative).sum()
    assert (np.asarray(plane.speed) < 1.2).all()
    assert (np.asarray(plane.energy) < np.asarray(plane.start_energy)).all()
    assert np.abs(np.asarray(plane.closure)).max() < 15.0
    assert (np.asarray(free.negative) > 0).any()
    assert (np.asarray(free.status) & dg.Status.NEGATIVE > 0).any()


@pytest.mark.slow
def test_emoji_have_positive_chords_and_a_closure_of_many_nats():
    """Chords of one network are sound where log p along them is not: the closure says so."""
    flow = dg.models.load("emoji32")
    pair = points(flow, 2, steps=32)
    arc = spacetime.arc(flow, one(pair, 0), one(pair, 1))
    out = spacetime.curve_energy(
        flow,
        arc,
        divergence=dg.hutchinson(4),
        ends=dg.hutchinson(16),
        closure_steps=32,
        key=jax.random.key(0),
    )
    assert int(out.negative) == 0
    assert int(out.status) == dg.Status.OK
    assert float(out.standard_error) < 0.02 * float(out.bound)
    assert float(out.closure_error) < 0.5 * abs(float(out.closure))
    assert 20.0 < abs(float(out.closure)) < 2000.0


def _network(activation):
    def apply(params, x, t):
        return params @ activation(params @ x + t)

    return dg.diffusion(
        apply,
        params=jnp.eye(3),
        path=dg.paths.variance_preserving(),
        prediction="noise",
        shape=(3,),
        log_snr=(-4.0, 4.0),
    )


def test_a_network_with_kinks_is_warned_of_once_a_program():
    bent, smooth = _network(jax.nn.relu), _network(jax.nn.silu)
    assert kinks.kinked(bent) == {"relu"}
    assert kinks.kinked(smooth) == set()
    curve = spacetime.Point(jnp.linspace(-1.0, 1.0, 9).reshape(3, 3), jnp.asarray([1.0, 0.5, 1.0]))
    with pytest.warns(UserWarning, match="the network uses relu: .* use silu or gelu"):
        spacetime.curve_energy(bent, curve)


@pytest.mark.slow
def test_frames_end_where_sampling_ends():
    """Decoding a point of a sample's own trajectory gives the sample; its log p is measured."""
    world = dg.worlds.mixture([0.4, 0.6], [[1.0, 0.2], [-1.0, 0.5]], 0.6, log_snr=(-6.0, 4.0))
    latent = dg.latent(world, jax.random.key(0))
    whole = dg.sample(world, latent, steps=256)
    level = jnp.asarray(1.0)
    part = world.replace(interval=(world.interval[0], level))
    state = dg.sample(part, latent, steps=256, divergence=None).x
    curve = spacetime.Point(jnp.stack([state, whole.x]), jnp.stack([level, world.interval[1]]))
    film = spacetime.frames(world, curve, steps=128)
    np.testing.assert_allclose(film.x, jnp.stack([whole.x] * 2), atol=2e-3)
    np.testing.assert_allclose(film.log_density, [whole.log_density] * 2, atol=1e-2)
    assert film.mean.shape == (2, 2)
    assert (np.asarray(film.status) == 0).all()
