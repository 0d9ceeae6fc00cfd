"""Pass rates with intervals."""

import jax
import numpy as np
import pytest
from oracles import gaussian
from scipy.stats import binomtest

import densityguide as dg
from densityguide.verify.alignment_report import wilson_interval


@pytest.mark.parametrize(("hits", "count"), [(0, 20), (7, 20), (20, 20), (513, 1024)])
def test_wilson_interval_against_scipy(hits, count):
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    assert np.allclose(wilson_interval(hits, count), (interval.low, interval.high), atol=1e-6)


@pytest.mark.slow
def test_gaussians_are_always_aligned_and_reversing_the_direction_never_is():
    flow = gaussian(4)
    out = dg.alignment_report(flow, jax.random.key(0), count=64, steps=16)
    assert out.fraction == 1
    assert out.low > 0.9
    assert np.all(out.cosine > 0)
    # A function of the latent: the prior of this world is not centred, so go against its score.
    against = dg.alignment_report(
        flow,
        jax.random.key(0),
        count=64,
        steps=16,
        direction=lambda x: -dg.priors.score(flow.prior, x),
    )
    assert against.fraction == 0
    assert np.allclose(against.value, -out.value)
