"""Layouts, conditions and preconditioning: other ways to hold the same network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.flow.networks import Network

SHAPE = (4, 4, 3)
KERNEL = None


def convolve(kernel, x, t):
    """One sample, channels last."""
    out = jax.lax.conv_general_dilated(
        x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.tanh(out[0]) * (1.0 + 0.1 * t)


def batched_channels_first(kernel, x, t):
    out = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NCHW", "HWIO", "NCHW")
    )
    return jnp.tanh(out) * (1.0 + 0.1 * t[:, None, None, None])


def flow_of(apply, **options):
    options = {"params": KERNEL, "prediction": "noise"} | options
    return dg.diffusion(apply, path=dg.paths.variance_preserving(), shape=SHAPE, **options)


@pytest.fixture(scope="module", autouse=True)
def kernel_in_double():
    global KERNEL
    KERNEL = 0.3 * jax.random.normal(jax.random.key(0), (3, 3, 3, 3))


@pytest.mark.slow
def test_layouts_are_the_same_flow():
    x = jax.random.normal(jax.random.key(1), SHAPE)
    ours = flow_of(convolve)
    theirs = flow_of(batched_channels_first, batched=True, channels_first=True)
    for t in (-3.0, 1.0):
        for a, b in zip(
            ours.field(ours.params, x, t), theirs.field(theirs.params, x, t), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    two = jnp.stack([x, 0.5 * x])
    draw = jax.jit(jax.vmap(lambda flow, x: dg.sample(flow, x, steps=5).x, (None, 0)))
    np.testing.assert_allclose(draw(ours, two), draw(theirs, two), rtol=1e-10)


def test_a_channels_first_network_taken_for_channels_last_is_named():
    def first(kernel, x, t):
        return batched_channels_first(kernel, x[None], jnp.asarray(t)[None])[0]

    with pytest.raises(ValueError, match=r"ONE sample of shape .*channels_first"):
        flow_of(first)


def linear(weights, x, t, condition):
    return weights * x + condition["shift"]


def conditional(shift):
    return dg.diffusion(
        linear,
        params=jnp.asarray(0.5),
        condition={"shift": jnp.asarray(shift)},
        path=dg.paths.variance_preserving(),
        prediction="noise",
        shape=(2,),
    )


def test_a_condition_is_an_argument():
    traces = []

    @jax.jit
    def draw(flow, x):
        traces.append(1)
        return dg.sample(flow, x, steps=5).x

    x = jnp.ones(2)
    flow = conditional([0.1, -0.2])
    other = flow.given({"shift": jnp.asarray([0.4, 0.3])})
    np.testing.assert_array_equal(draw(other, x), draw(conditional([0.4, 0.3]), x))
    assert np.abs(draw(flow, x) - draw(other, x)).min() > 1e-3
    assert len(traces) == 1
    with pytest.raises(ValueError, match="takes no condition"):
        flow_of(convolve).given(3)


@pytest.mark.slow
def test_edm_preconditioning_of_a_gaussian():
    """For data N(0, sd^2 I) the best denoiser is c_skip x: F = 0, and log p is the Gaussian's."""
    flow = dg.diffusion(
        dg.edm(lambda x, t: jnp.zeros_like(x), sigma_data=0.7),
        path=dg.paths.variance_exploding(),
        prediction="data",
        clock=dg.clocks.edm_noise,
        log_snr=(-12.0, 14.0),
        shape=(3,),
    )
    x = jnp.asarray([0.5, -0.2, 1.0])
    sigma = 0.5
    score = flow.score(x, -2.0 * jnp.log(sigma))
    np.testing.assert_allclose(score, -x / (0.7**2 + sigma**2), rtol=1e-9)
    out = dg.log_density(flow, x, steps=400)
    exact = jax.scipy.stats.norm.logpdf(x, scale=0.7).sum()
    np.testing.assert_allclose(out.value, exact, atol=1e-4)


def test_edm_factors_are_those_of_the_paper():
    def raw(params, x, t):
        return jnp.sin(params * x) + t

    sd, sigma = 0.5, 2.0
    flow = dg.diffusion(
        dg.edm(raw, sd),
        params=jnp.asarray(1.3),
        path=dg.paths.variance_exploding(),
        prediction="data",
        clock=dg.clocks.edm_noise,
        shape=(3,),
    )
    x = jnp.asarray([0.4, -1.0, 3.0])
    total = sd**2 + sigma**2
    f = raw(1.3, x / total**0.5, np.log(sigma) / 4)
    data = sd**2 / total * x + sigma * sd / total**0.5 * f
    np.testing.assert_allclose(
        flow.score(x, -2.0 * jnp.log(sigma)), (data - x) / sigma**2, rtol=1e-9
    )
    with pytest.raises(ValueError, match="sigma_data must be a positive number"):
        dg.edm(raw, -1.0)


def test_between_the_times_of_a_table_runs_a_line():
    table = jnp.cos(jnp.arange(1000.0))

    def looked_up(table, x, index):
        assert jnp.issubdtype(index.dtype, jnp.integer)
        return table[index] * x

    clock, levels = dg.clocks.ddpm(), dg.clocks.ddpm_log_snr()
    flow = dg.diffusion(
        looked_up,
        params=table,
        path=dg.paths.variance_preserving(),
        prediction="noise",
        shape=(2,),
        clock=clock,
        integer_times=True,
    )
    x = jnp.asarray([0.3, -0.7])
    for share in (0.0, 0.2, 0.9):
        level = (1.0 - share) * levels[400] + share * levels[401]
        expected = ((1.0 - share) * table[400] + share * table[401]) * x
        found = -flow.score(x, level) * flow.path.sigma(level)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("place", [0, 1, 998, 999])
@pytest.mark.parametrize("off", [-1e-7, 0.0, 1e-7])
def test_no_row_beside_a_table_is_looked_up(place, off):
    """Frameworks differ in what they find there; a share of 0 of not-a-number is one too."""
    table = jnp.cos(jnp.arange(1000.0, dtype=jnp.float32))

    def looked_up(table, x, index):
        return jnp.take(table, index, mode="fill", fill_value=jnp.nan) * x

    network = Network(looked_up, True, integer_times=True)
    x, t = jnp.asarray([0.3, -0.7], jnp.float32), jnp.float32(place * (1.0 + off))
    found, slope = jax.jvp(lambda t: network(table, x, t), (t,), (jnp.ones_like(t),))
    np.testing.assert_allclose(found, table[place] * x, rtol=1e-3)
    first = max(place - 1, 0)  # the line that ends there has a slope, rounding or not
    np.testing.assert_allclose(slope, (table[first + 1] - table[first]) * x, rtol=1e-5)
