"""Somebody's module and somebody's file of weights, handed in as they are."""

import warnings

import jax
import numpy as np
import pytest

import densityguide as dg

pytest.importorskip("torch")
pytest.importorskip("torchax")
from studies.third_party import mnist_networks, mnist_torch

HERE = mnist_networks.HERE
MODULES = {"mnist_cnn": (mnist_torch.Cnn, False), "mnist_unet": (mnist_torch.Unet, True)}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_and_its_file_are_the_network_written_for_jax(name):
    kind, whole = MODULES[name]
    module = dg.models.from_torch(kind(), HERE / f"{name}.safetensors")
    wires = mnist_networks.parts(name)
    known = dg.diffusion(**wires)
    del wires["apply"], wires["params"]
    with pytest.warns(UserWarning, match="the network takes batched=True") as seen:
        flow = dg.diffusion(module, **wires)
    assert f"channels_first=True, integer_times={whole}" in str(seen[0].message)
    x = jax.random.normal(jax.random.key(0), known.shape)
    indices = dg.clocks.ddpm_log_snr(mnist_networks_betas(wires))
    for index in (3, 400, 900):
        level = float(indices[index])
        expected, found = known.score(x, level), flow.score(x, level)
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(found, expected, atol=2e-3 * scale)


def mnist_networks_betas(wires):
    """The table behind either clock."""
    steps = len(getattr(wires["clock"], "index", wires["clock"]).table)
    return np.linspace(1e-4, 0.02, steps)


def test_log_p_is_that_of_the_network_written_for_jax():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = dg.models.from_torch(mnist_torch.Cnn(), HERE / "mnist_cnn.safetensors")
        wires = mnist_networks.parts("mnist_cnn")
        known = dg.diffusion(**wires)
        flow = dg.diffusion(**wires | {"apply": module, "params": None})
    x = dg.sample(known, dg.latent(known, jax.random.key(0)), divergence=None, steps=16).x
    options = {"divergence": dg.orthogonal(2), "key": jax.random.key(1), "steps": 16}
    expected = dg.log_density(known, x, **options)
    found = dg.log_density(flow, x, **options)
    assert float(abs(found.value - expected.value)) < 0.05 * float(expected.total_error) + 0.1
