"""Errors of use: one line each, before tracing; bad traced values become a status."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg

X64 = False
VP = dg.paths.variance_preserving()
LINEAR = dg.paths.linear()


def world():
    return dg.worlds.mixture([0.4, 0.6], [[1.0, 0.2], [-1.0, 0.5]], 0.6, log_snr=(-4.0, 3.0))


def bare(score=None, shape=(2,), **more):
    prior = dg.priors.normal(shape)
    options = {"prior": prior, "interval": (0.0, 1.0), "shape": shape, "score": score} | more
    return dg.cnf(lambda x, t: -x, **options)


def scored():
    return bare(score=lambda x, t: -x)


def x():
    return jnp.asarray([0.4, -0.9])


def key():
    return jax.random.key(0)


def build(**more):
    options = {"path": VP, "prediction": "noise", "shape": (2,)} | more
    return dg.diffusion(options.pop("apply", lambda x, t: x), **options)


class Loose:
    """A prior by its methods, but not a pytree."""

    def sample(self, key):
        return jax.random.normal(key, (2,))

    def log_prob(self, x):
        return -0.5 * jnp.sum(x**2)


@jax.tree_util.register_static
class Uniform(Loose):
    """A user's own prior, with an attribute that means something else."""

    scale = 1.0


def wide():
    return bare(shape=(300,))


MISUSES = {
    # paths, clocks, grids, predictions
    "betas": (lambda: dg.clocks.ddpm([0.1, 1.2]), r"betas must be .* in \(0, 1\)"),
    "betas-shape": (lambda: dg.grids.ddpm(-3.0, 3.0, 4, betas=0.1), "betas must be"),
    "prediction": (lambda: build(prediction="eps"), "prediction must be one of noise.*'eps'"),
    "v": (lambda: build(prediction="v", path=LINEAR), "needs the variance preserving path"),
    "clock": (lambda: build(clock=3.0), "clock must be a function of log-SNR"),
    # flows
    "apply": (lambda: build(apply=3), "apply must be a function"),
    "range": (lambda: build(log_snr=(5.0, -5.0)), "must rise from noise to data.*swap"),
    "ends": (lambda: build(log_snr=(5.0, 5.0)), "two different ends"),
    "pair": (lambda: build(log_snr=3.0), "must be a pair"),
    "unbatched": (lambda: build(apply=lambda x, t: x[0]), "must return the shape of its input"),
    "crash": (lambda: build(apply=lambda x, t: x @ jnp.ones(7)), "failed on ONE sample of shape"),
    "crash-params": (lambda: build(apply=lambda x, t: t, params=1), "failed on ONE sample"),
    "velocity": (
        lambda: dg.cnf(None, prior=dg.priors.normal((2,)), interval=(0, 1), shape=(2,)),
        "velocity must be a function",
    ),
    "prior": (lambda: bare(prior=3.0), r"prior must have sample\(key\) and log_prob\(x\)"),
    "interval": (lambda: bare(interval=(1.0, 1.0)), "two different ends"),
    "no-score": (lambda: bare().score(x(), 0.0), "this flow has no score"),
    "no-closed-form": (lambda: bare().log_density(x(), 0.0), "no closed form"),
    # worlds
    "mixture": (lambda: dg.worlds.mixture([1.0], jnp.ones((2, 3)), 1.0), r"weights \[K\]"),
    "gaussian": (lambda: dg.worlds.gaussian(jnp.ones(2), jnp.ones((2, 3))), r"covariance \[D, D\]"),
    "flow-map": (lambda: dg.worlds.flow_map(world(), x(), -1, 1), "one Gaussian only"),
    "laplacian": (lambda: dg.worlds.laplacian(bare(), x(), 0.0), "needs a world"),
    "exact-prior": (lambda: dg.worlds.exact_prior(bare()), "needs a world"),
    "weights": (
        lambda: dg.worlds.mixture([-0.6, 0.4], jnp.ones((2, 2)), 1.0),
        "weights must be positive",
    ),
    "scales": (lambda: dg.worlds.mixture([1.0], jnp.ones((1, 2)), -1.0), "scales must be positive"),
    "scales-shape": (
        lambda: dg.worlds.mixture([1.0], jnp.ones((1, 2)), jnp.ones(3)),
        "or broadcast to it",
    ),
    "asymmetric": (
        lambda: dg.worlds.gaussian(jnp.zeros(2), [[1.0, 0.9], [0.0, 1.0]]),
        "must be symmetric",
    ),
    "indefinite": (
        lambda: dg.worlds.gaussian(jnp.zeros(2), [[1.0, 2.0], [2.0, 1.0]]),
        "must be positive definite",
    ),
    "prior-scale": (lambda: dg.priors.normal((2,), -1.0), "scale must be positive"),
    "prior-pytree": (lambda: bare(prior=Loose()), "not registered as one"),
    # traces
    "divergence-integers": (lambda: dg.divergence(jnp.sin, jnp.arange(3)), "must be a float array"),
    "divergence-shape": (lambda: dg.divergence(lambda x: x[:1], x()), "outputs of the shape"),
    "chunk": (lambda: dg.exact(0), "chunk must be an integer of at least 1, got 0"),
    "probes": (lambda: dg.hutchinson(1), "one probe has no error bar"),
    "probes-float": (lambda: dg.orthogonal(2.5), "probes must be an integer"),
    "distribution": (lambda: dg.hutchinson(2, "cauchy"), "'rademacher' or 'gaussian'"),
    "divergence-key": (lambda: dg.divergence(jnp.sin, x(), dg.hutchinson(2)), "needs key="),
    "trace-key": (lambda: dg.sample(world(), x(), divergence=dg.hutchinson(2)), "needs key="),
    "trace-type": (lambda: dg.sample(world(), x(), divergence=3), "divergence must be exact"),
    "no-trace": (lambda: dg.log_density(world(), x(), divergence=None), "needs a trace"),
    "large": (lambda: dg.log_density(wide(), jnp.ones(300)), "D = 300 is above 256"),
    # knots
    "knots-shape": (lambda: dg.knots([0.0, 1.0], [1.0]), r"one shape \[n >= 2\]"),
    "knots-order": (lambda: dg.knots([1.0, 0.0], [1.0, 2.0]), "strictly rising times"),
    "knots-number": (lambda: dg.knots("ab", [1.0, 2.0]), "times must be a real number"),
    # guidance
    "q": (lambda: dg.quantile(1.5), r"q must lie in \(0, 1\)"),
    "q-end": (lambda: dg.quantile(0.0), r"q must lie in \(0, 1\)"),
    "q-nan": (lambda: dg.pinned(float("nan")), r"q must lie in \(0, 1\)"),
    "q-knots": (lambda: dg.calibrated(dg.knots([0.0, 1.0], [0.5, 2.0])), r"q must lie in \(0, 1\)"),
    "q-complex": (lambda: dg.quantile(1j), "q must be a real number"),
    "cap": (lambda: dg.quantile(0.5, cap=-1.0), "cap must be positive"),
    "target-inf": (lambda: dg.target(float("inf")), "target must be a finite number"),
    "budget-both": (lambda: dg.budget(1.0, bits_per_dim=1.0), "exactly one"),
    "budget-none": (lambda: dg.budget(), "exactly one"),
    "rate": (lambda: dg.rate(3.0), "rate needs a function"),
    "schedule": (lambda: dg.schedule([1.0, 2.0]), "schedule needs densityguide.knots"),
    "guidance-type": (lambda: dg.sample(world(), x(), guidance=0.7), "guidance must come from"),
    "guidance-score": (
        lambda: dg.sample(bare(), x(), guidance=dg.budget(1.0)),
        "budget guidance needs a score",
    ),
    "guidance-path": (
        lambda: dg.sample(scored(), x(), guidance=dg.quantile(0.7)),
        "needs a Gaussian path.*use budget, rate, schedule or target",
    ),
    "pinned-path": (
        lambda: dg.sample(scored(), x(), guidance=dg.pinned(0.7)),
        "needs a Gaussian path.*use budget",
    ),
    "calibration": (
        lambda: dg.sample(world(), x(), guidance=dg.calibrated(0.7)),
        "needs a calibration",
    ),
    "guidance-trace": (
        lambda: dg.sample(world(), x(), guidance=dg.target(1.0), divergence=None),
        "target guidance needs a trace",
    ),
    "q-array": (lambda: dg.quantile(jnp.asarray([0.3, 0.5])), "one number.*jax.vmap"),
    "target-array": (lambda: dg.target(jnp.ones(2)), "target must be one number"),
    "budget-nan": (lambda: dg.budget(float("nan")), "nats must be a number, got nan"),
    "gain": (lambda: dg.target(1.0, gain=-3.0), "gain must not be negative"),
    "cap-array": (lambda: dg.quantile(0.5, cap=jnp.ones(2)), "cap must be one number"),
    "schedule-span": (
        lambda: dg.sample(world(), x(), guidance=dg.schedule(dg.knots([0, 1], [0, 1]))),
        "must span the flow's interval",
    ),
    # noise
    "form": (lambda: dg.noise.constant(0.3, form="heun"), "form must be one of stratonovich"),
    "band": (lambda: dg.noise.band(3.0, -3.0, 0.3), "must have start < stop"),
    "level": (lambda: dg.noise.constant(-0.3), "must not be negative"),
    "noise-type": (lambda: dg.sample(world(), x(), noise=0.3, key=key()), "noise must be"),
    "noise-key": (lambda: dg.sample(world(), x(), noise=dg.noise.constant(0.3)), "needs key="),
    "noise-score": (
        lambda: dg.sample(bare(), x(), noise=dg.noise.constant(0.3), key=key()),
        "noise needs a score",
    ),
    "noise-adaptive": (
        lambda: dg.sample(world(), x(), noise=dg.noise.constant(0.3), key=key(), rtol=1e-3),
        "stochastic solves use a fixed grid",
    ),
    "noise-trace": (
        lambda: dg.sample(
            world(),
            x(),
            noise=dg.noise.constant(0.3, form="ito"),
            key=key(),
            divergence=None,
        ),
        "the ito form of noise needs a trace",
    ),
    # solve
    "steps": (lambda: dg.sample(world(), x(), steps=0), "integer of at least 1, got 0"),
    "steps-float": (lambda: dg.sample(world(), x(), steps=4.0), "integer of at least 1, got 4.0"),
    "both": (lambda: dg.sample(world(), x(), steps=4, rtol=1e-3), "pass one or the other"),
    "max-steps": (lambda: dg.sample(world(), x(), max_steps=4), "belongs to adaptive solves"),
    "adjoint": (lambda: dg.sample(world(), x(), rtol=1e-3, adjoint="both"), "'reverse' or"),
    "solver": (lambda: dg.sample(world(), x(), solver="heun"), "explicit Runge-Kutta"),
    "implicit": (lambda: dg.sample(world(), x(), solver=diffrax.Kvaerno3()), "Runge-Kutta"),
    "euler": (
        lambda: dg.sample(world(), x(), solver=diffrax.Euler(), rtol=1e-3),
        "no error estimate",
    ),
    "grid-function": (
        lambda: dg.sample(world(), x(), grid=lambda a, b, n: jnp.linspace(b, a, n + 1)),
        "grid must move from the prior's end",
    ),
    "solver-class": (lambda: dg.sample(world(), x(), solver=diffrax.Tsit5), "add parentheses"),
    "tolerance": (lambda: dg.sample(world(), x(), rtol=-1e-3), "rtol must be positive"),
    "atol": (lambda: dg.sample(world(), x(), rtol=1e-3, atol=0.0), "atol must be positive"),
    "max-steps-zero": (
        lambda: dg.sample(world(), x(), rtol=1e-3, max_steps=0),
        "max_steps must be an integer of at least 1",
    ),
    "grid-shape": (lambda: dg.sample(world(), x(), grid=[1.0]), "at least two knots"),
    "grid-steps": (lambda: dg.sample(world(), x(), grid=[-4.0, 3.0], steps=2), "drop steps="),
    "grid-order": (lambda: dg.sample(world(), x(), grid=[-4, 3, 2, 3]), "must move from"),
    "grid-ends": (lambda: dg.sample(world(), x(), grid=[-9.0, 3.0]), "must run from -4 to 3"),
    # one sample of the flow's shape
    "batch": (lambda: dg.sample(world(), jnp.ones((5, 2))), "use jax.vmap for a batch"),
    "shape": (lambda: dg.log_density(world(), jnp.ones(3)), r"shape \(2,\), got \(3,\)"),
    "integers": (lambda: dg.log_density(world(), jnp.ones(2, int)), "must be a float array"),
    "bytes": (lambda: dg.sample(world(), np.ones(2, np.uint8)), "must be a float array, got uint8"),
    # latents
    "latent-key": (lambda: dg.latent(world(), None), "latent needs a key"),
    "rescale-none": (lambda: dg.rescale(world(), x()), "exactly one of them"),
    "rescale-both": (lambda: dg.rescale(world(), x(), 0.5, factor=2.0), "exactly one of them"),
    "rescale-q": (lambda: dg.rescale(world(), x(), 1.5), r"q must lie in \(0, 1\)"),
    "rescale-prior": (
        lambda: dg.rescale(dg.worlds.exact_prior(world()), x(), 0.5),
        "needs the isotropic normal prior",
    ),
    "rescale-other": (
        lambda: dg.rescale(bare(prior=Uniform()), x(), 0.5),
        "needs the isotropic normal prior",
    ),
    # matching, high density, elbo
    "match-scales": (
        lambda: dg.match_log_density(world(), x(), -2.0, scales=(2.0, 0.5)),
        "0 < low < high",
    ),
    "match-array": (lambda: dg.match_log_density(world(), x(), jnp.ones(2)), "one number"),
    "match-tolerance": (
        lambda: dg.match_log_density(world(), x(), -2.0, tolerance=-1.0),
        "tolerance must be positive",
    ),
    "high-polish": (
        lambda: dg.high_density(world(), x(), switch=0.0, polish=1),
        "has no polish=",
    ),
    "high-steps": (
        lambda: dg.high_density(world(), x(), switch=0.0, steps=8, rtol=1e-3),
        "contradict each other",
    ),
    "elbo-levels": (lambda: dg.elbo(world(), x(), key(), levels=0), "levels must be an integer"),
    "elbo-replicates": (lambda: dg.elbo(world(), x(), key(), replicates=2.5), "replicates must be"),
    "polish-score": (lambda: dg.sample(bare(), x(), polish=1), "this flow has none"),
    # alignment
    "align-score": (lambda: dg.score_alignment(bare(), x()), "pass use_score=False"),
    "align-shape": (
        lambda: dg.score_alignment(world(), x(), direction=jnp.ones(3)),
        "direction must have the flow's shape",
    ),
    "align-trace": (
        lambda: dg.score_alignment(world(), x(), use_score=False, divergence=None),
        "score alignment without the score needs a trace",
    ),
    # bits per dimension
    "bits-transform": (
        lambda: dg.bits_per_dim(world(), jnp.ones((1, 2), int), key()),
        "needs the data transform",
    ),
}


@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_one_clear_line(name):
    misuse, message = MISUSES[name]
    with pytest.raises(ValueError, match=message) as caught:
        misuse()
    assert "\n" not in str(caught.value)


class Unit:
    """A transform that does nothing: enough to reach the checks behind it."""

    levels = 4

    def __call__(self, image, key):
        return image / 255.0

    def log_jacobian(self, size):
        return 0.0


@pytest.mark.parametrize(
    ("images", "draws", "key", "message"),
    [
        (np.ones((1, 2), np.float32), 4, 0, "takes integer images, got float32"),
        (np.ones(2, np.uint8), 4, 0, r"images must be \[n, 2\]"),
        (np.ones((1, 3), np.uint8), 4, 0, r"images must be \[n, 2\]"),
        (np.ones((1, 2), np.uint8), 1, 0, "draws must be an integer of at least 2"),
        (np.full((1, 2), 5, np.uint8), 4, 0, "integers from 0 to 3.*got 5 to 5"),
        (np.full((1, 2), -1), 4, 0, "integers from 0 to 3.*got -1 to -1"),
        (np.ones((1, 2), np.uint8), 4, None, "needs key="),
    ],
)
def test_misuse_of_bits_per_dim(images, draws, key, message):
    flow = world().replace(transform=Unit())
    key = None if key is None else jax.random.key(key)
    with pytest.raises(ValueError, match=message):
        dg.bits_per_dim(flow, images, key, draws=draws)


@pytest.mark.parametrize(
    ("make", "good", "bad"),
    [
        (dg.quantile, 0.6, (0.0, 1.0, 1.5, -2.0, np.nan)),
        (dg.pinned, 0.6, (1.0, -2.0)),
        (dg.target, -2.0, (np.inf, np.nan)),
        (dg.budget, 1.0, (np.nan,)),
    ],
)
def test_bad_traced_values_are_a_status_of_their_own_sample(make, good, bad):
    values = jnp.asarray([good, *bad, good])

    def one(value):
        return dg.sample(world(), x(), guidance=make(value), steps=8)

    out = jax.jit(jax.vmap(one))(values)
    invalid = (np.asarray(out.status) & dg.Status.INVALID) != 0
    np.testing.assert_array_equal(invalid, [False, *(True for _ in bad), False])
    assert np.isfinite(out.x[0]).all()
    np.testing.assert_array_equal(out.x[0], out.x[-1])
    assert np.isfinite(out.x).all()
    claimed = np.isfinite(np.asarray(out.log_density))
    assert claimed[0]
    assert claimed[-1]


@pytest.mark.parametrize(
    ("run", "good", "bad"),
    [
        (lambda v: dg.sample(world(), x(), guidance=dg.quantile(0.7, cap=v), steps=8), 4.0, -1.0),
        (lambda v: dg.sample(world(), x(), guidance=dg.quantile(0.7, cap=v), steps=8), 4.0, np.nan),
        (lambda v: dg.sample(world(), x(), guidance=dg.target(-2.0, gain=v), steps=8), 1.0, -3.0),
        (
            lambda v: dg.sample(world(), x(), noise=dg.noise.constant(v), key=key(), steps=8),
            0.1,
            -0.1,
        ),
        (lambda v: dg.sample(world(), x(), grid=jnp.stack([-4.0, v, 3.0])), 0.0, 5.0),
        (
            lambda v: dg.sample(
                world(), x(), guidance=dg.schedule(dg.knots([-4, 3], [-9, -3])._replace(
                    times=jnp.stack([jnp.asarray(-4.0), v])
                )), steps=8
            ),
            3.0,
            1.0,
        ),
        (lambda v: dg.high_density(world(), x(), switch=v, steps=8), 0.0, 20.0),
        (lambda v: dg.track_mode(world(), x(), start=v, steps=8), 0.0, -20.0),
        (lambda v: dg.match_log_density(world(), x(), v, scan=3, steps=4), -2.0, np.nan),
    ],
)  # fmt: skip
def test_bad_traced_numbers_become_a_status(run, good, bad):
    status = jax.jit(lambda v: run(v).status)
    assert not int(status(jnp.asarray(good))) & dg.Status.INVALID
    assert int(status(jnp.asarray(bad))) & dg.Status.INVALID


def test_no_verb_turns_a_nan_into_an_answer():
    out = dg.elbo(world(), jnp.asarray([np.nan, 0.0]), key())
    assert int(out.status) == dg.Status.NON_FINITE


def test_a_users_own_prior_serves_when_it_is_a_pytree():
    out = dg.sample(bare(prior=Uniform()), x(), steps=24)
    np.testing.assert_allclose(out.x, x() * np.exp(-1.0), rtol=1e-3)


def test_measuring_only_needs_no_score():
    out = dg.sample(bare(), x(), polish=0, steps=48)
    assert abs(float(out.consistency)) < 1e-4
    assert float(out.moved) == 0.0


def test_an_unlimited_cap_has_gradients():
    def value(z):
        guidance = dg.quantile(0.7, cap=jnp.inf)
        return dg.sample(world(), z, guidance=guidance, steps=4).log_density

    assert np.isfinite(jax.grad(value)(x())).all()


@pytest.mark.parametrize("grid", [dg.grids.ddpm, dg.grids.edm, dg.grids.cosine])
def test_every_named_grid_takes_traced_ends(grid):
    knots = jax.jit(lambda flow: grid(*flow.interval, 8))(world())
    np.testing.assert_allclose(knots, grid(-4.0, 3.0, 8), rtol=1e-5, atol=1e-5)


def test_status_decodes():
    out = dg.sample(world(), x(), guidance=dg.budget(500.0), steps=8)
    assert dg.Status(int(out.status)) == dg.Status.UNMET
    assert float(out.unmet) > 1.0
