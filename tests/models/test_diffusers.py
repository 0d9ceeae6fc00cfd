"""Checkpoints of diffusers, tiny and random, against PyTorch itself."""

import json
import shutil
from itertools import pairwise

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import ndtri
from safetensors.numpy import load_file, save_file

import densityguide as dg
from densityguide.flow import clocks

torch = pytest.importorskip("torch", reason="needs the extra diffusers, tested on its own")
pytest.importorskip("torchax", reason="needs the extra diffusers, tested on its own")
diffusers = pytest.importorskip("diffusers", reason="needs the extra diffusers, tested on its own")

from densityguide.models.diffusers import from_diffusers, image_decoder  # noqa: E402

BLOCKS = {"layers_per_block": 1, "block_out_channels": (8, 16), "norm_num_groups": 4}


def noisy(module):
    """Zero-initialised layers would hide what feeds them."""
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return module.eval()


def unet(**more):
    return noisy(
        diffusers.UNet2DModel(
            sample_size=8,
            in_channels=3,
            out_channels=3,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8,
            **BLOCKS,
            **more,
        )
    )


def unet_of_text():
    return noisy(
        diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=12,
            attention_head_dim=4,
            **BLOCKS,
        )
    )


def dit():
    return noisy(
        diffusers.DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,  # noise and a learned variance
            num_layers=2,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=10,
        )
    )


def vae():
    return noisy(
        diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
            up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=4,
            sample_size=16,
        )
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders by name, as the library saves them."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("checkpoints")
    ddpm = diffusers.DDPMScheduler
    diffusers.DDPMPipeline(unet(), ddpm(num_train_timesteps=100)).save_pretrained(root / "pixels")
    for name, module in (("classes", unet(num_class_embeds=10)), ("text", unet_of_text())):
        module.save_pretrained(root / name)
        scheduler = diffusers.PNDMScheduler(
            beta_schedule="scaled_linear", prediction_type="v_prediction"
        )
        scheduler.save_pretrained(root / name / "scheduler")
    flow = unet()
    flow.save_pretrained(root / "flow")
    diffusers.FlowMatchEulerDiscreteScheduler().save_pretrained(root / "flow" / "scheduler")
    pipeline = diffusers.DiTPipeline(dit(), vae(), ddpm())
    pipeline.save_pretrained(root / "dit")
    return root


CONDITIONS = {
    "pixels": None,
    "classes": 3,
    "text": np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32),
    "flow": None,
    "dit": 7,
}


def eager(root, name):
    """``(x [H, W, C], timestep) -> output [H, W, C]`` by PyTorch, and the flow's log-SNR table."""
    kinds = {"dit": diffusers.DiTTransformer2DModel, "text": diffusers.UNet2DConditionModel}
    inner = {"pixels": "unet", "dit": "transformer"}.get(name, ".")
    module = kinds.get(name, diffusers.UNet2DModel).from_pretrained(root / name / inner).eval()
    words = {"classes": "class_labels", "text": "encoder_hidden_states", "dit": "class_labels"}
    given = {}
    if CONDITIONS[name] is not None:
        given[words[name]] = torch.as_tensor(np.asarray(CONDITIONS[name]))[None]

    def run(x, t):
        # Of torch's attention kernels only this one can be differentiated twice.
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            out = module(x.movedim(-1, 0)[None], torch.as_tensor([t]), **given, return_dict=False)
        return out[0][0, : x.shape[-1]].movedim(0, -1)

    return run


@pytest.mark.parametrize("name", CONDITIONS)
def test_forward_and_jvp_are_pytorchs(saved, name):
    flow = from_diffusers(saved / name, condition=CONDITIONS[name])
    rng = np.random.default_rng(1)
    x, v = rng.normal(size=(2, *flow.shape)).astype(np.float32)
    log_snr = 0.3
    t = flow.field.clock(jnp.asarray(log_snr))
    factor = flow.field.apply.function.factor
    network = eager(saved, name)
    # By two reverse passes: torch's forward mode fails on these attention layers.
    out, tangent = torch.autograd.functional.jvp(
        lambda x: network(x, float(t) * factor), torch.tensor(x), torch.tensor(v)
    )
    ours = jax.jit(lambda x, v: jax.jvp(lambda x: flow.field.apply(flow.params, x, t), (x,), (v,)))
    for a, b in zip(ours(x, v), (out, tangent), strict=True):
        scale = float(b.abs().max())
        np.testing.assert_allclose(a, b.detach(), atol=1e-5 * scale)


@pytest.fixture(scope="module")
def pixels(saved):
    return from_diffusers(saved / "pixels"), eager(saved, "pixels")


def by_hand(flow, network, x, steps, q):
    """Euler steps of density guidance on the variance-preserving path, in PyTorch, forwards."""
    table = clocks.ddpm_log_snr(np.linspace(1e-4, 0.02, 100))
    knots = np.linspace(table[-1], table[0], steps + 1)
    rate = 0.5 * (2.0 * x.numel()) ** 0.5 * float(ndtri(q))
    for start, stop in pairwise(knots):
        t = float(np.interp(start, table[::-1], np.arange(99.0, -1.0, -1.0)))
        sigma2 = 1.0 / (1.0 + np.exp(start))
        score = -network(x, t) / sigma2**0.5
        velocity = 0.5 * sigma2 * (x + score)
        x = x + (stop - start) * (velocity + rate * score / (score**2).sum())
    return x * (1.0 + np.exp(-table[0])) ** 0.5  # x / alpha


def test_a_guided_sample_is_pytorchs(pixels):
    flow, network = pixels
    x = np.random.default_rng(2).normal(size=flow.shape).astype(np.float32)
    guidance = dg.quantile(0.7, cap=1e9)
    out = dg.sample(
        flow, x, guidance=guidance, solver=diffrax.Euler(), steps=6, divergence=dg.exact()
    )
    with torch.no_grad():
        expected = by_hand(flow, network, torch.tensor(x), 6, 0.7)
    np.testing.assert_allclose(out.x, expected, atol=2e-4)


def test_an_exact_log_density_is_pytorchs(pixels):
    """Euler from prior to data with the whole Jacobian's trace at each step."""
    flow, network = pixels
    table = clocks.ddpm_log_snr(np.linspace(1e-4, 0.02, 100))
    knots = np.linspace(table[-1], table[0], 4)
    x = np.random.default_rng(3).normal(size=flow.shape).astype(np.float32)
    out = dg.sample(flow, x, solver=diffrax.Euler(), steps=3, divergence=dg.exact())
    log_p = float(flow.prior.log_prob(x))
    state = torch.tensor(x)
    for start, stop in pairwise(knots):
        t = float(np.interp(start, table[::-1], np.arange(99.0, -1.0, -1.0)))
        sigma = (1.0 / (1.0 + np.exp(start))) ** 0.5

        def velocity(x, t=t, sigma=sigma):
            return 0.5 * sigma**2 * (x - network(x, t) / sigma)

        jacobian = torch.func.jacrev(velocity)(state).reshape(x.size, x.size)
        log_p -= (stop - start) * float(jacobian.trace())
        state = (state + (stop - start) * velocity(state)).detach()
    log_p -= 0.5 * x.size * np.log1p(np.exp(-table[0]))  # of x / alpha
    assert abs(float(out.log_density) - log_p) < 2e-3
    assert out.tangents == 3 * x.size


def test_weights_and_conditions_are_arguments(saved):
    traces = []

    @jax.jit
    def run(flow, x):
        traces.append(1)
        return dg.sample(flow, x, steps=3).x

    flow = from_diffusers(saved / "classes", condition=3)
    x = jnp.ones(flow.shape)
    first = run(flow, x)
    assert np.abs(run(flow.given({"class_labels": 5}), x) - first).max() > 1e-4
    np.testing.assert_array_equal(run(from_diffusers(saved / "classes", condition=3), x), first)
    assert len(traces) == 1
    mixed = dg.classifier_free(flow, 2.0, negative={"class_labels": 0})
    assert np.all(np.isfinite(dg.sample(mixed, x, steps=3).x))


def test_the_decoder_is_pytorchs(saved):
    latents = np.random.default_rng(4).normal(size=(2, 8, 8, 4)).astype(np.float32)
    module = diffusers.AutoencoderKL.from_pretrained(saved / "dit" / "vae").eval()
    with torch.no_grad():
        scaled = torch.tensor(latents).movedim(-1, 1) / module.config.scaling_factor
        expected = module.decode(scaled, return_dict=False)[0].movedim(1, -1)
    expected = np.clip(np.round(127.5 * (expected.numpy() + 1.0)), 0, 255)
    ours = image_decoder(saved / "dit")(latents)
    assert ours.dtype == np.uint8
    assert ours.shape == (2, 16, 16, 3)
    assert np.abs(ours.astype(float) - expected).max() <= 1
    assert image_decoder(saved / "pixels") is None


def test_the_command_line_samples_and_decodes(saved, tmp_path, capsys):
    from densityguide.app.cli import main

    for name, more in (("pixels", ()), ("dit", ("--condition", "3"))):
        out = tmp_path / name
        options = ("--q", "0.4,0.6", "--count", "2", "--steps", "3", "--out", str(out))
        model = f"diffusers:{saved / name}"
        assert main(["sample", "--model", model, *options, *more]) == 0, capsys.readouterr().err
        arrays = np.load(out / "samples.npz")
        side = {"pixels": 8, "dit": 16}[name]
        assert arrays["images"].shape == (2, 2, side, side, 3)
        assert json.loads((out / "report.json").read_text())["model"]["name"] == f"diffusers:{name}"


def broken(saved, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(saved / "pixels", folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    if name == "pickled":
        weights.rename(weights.with_suffix(".bin"))
    elif name == "missing tensors":
        tensors = load_file(weights)
        save_file({k: v for k, v in tensors.items() if "down_blocks.0" not in k}, weights)
    elif name == "no weights":
        weights.unlink()
    elif name == "half a file":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif name == "half the shards":
        index = {"weight_map": {"a": "one-00001.safetensors", "b": "two-00002.safetensors"}}
        (weights.parent / f"{weights.name}.index.json").write_text(json.dumps(index))
        weights.rename(weights.parent / "one-00001.safetensors")
    elif name == "no scheduler":
        shutil.rmtree(folder / "scheduler")
    elif name == "no config":
        (folder / "unet" / "config.json").unlink()
    elif name == "damaged config":
        (folder / "unet" / "config.json").write_text("{")
    else:
        part, key = {"scheduler": ("scheduler", "scheduler_config"), "network": ("unet", "config")}[
            name
        ]
        file = folder / part / f"{key}.json"
        config = json.loads(file.read_text()) | {"_class_name": "Mystery"}
        file.write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pickled", "pickled, which can run any code"),
        ("missing tensors", "do not fit config.json"),
        ("no weights", "safetensors, it does not exist"),
        ("half a file", "damaged"),
        ("half the shards", "half downloaded, two-00002.safetensors missing"),
        ("no scheduler", "expected the scheduler in"),
        ("no config", "config.json, it does not exist"),
        ("damaged config", "it is damaged"),
        ("scheduler", "unknown scheduler 'Mystery'"),
        ("network", "unknown network 'Mystery'"),
    ],
)
def test_bad_folders_end_in_one_line(saved, tmp_path, name, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        from_diffusers(broken(saved, tmp_path, name))
    assert "\n" not in str(caught.value)


def test_bad_conditions(saved):
    with pytest.raises(ValueError, match="is conditional: pass condition="):
        from_diffusers(saved / "classes")
    for label in (10, -1):
        with pytest.raises(ValueError, match=r"class_labels must lie in 0 \.\. 9"):
            from_diffusers(saved / "classes", condition=label)
    assert from_diffusers(saved / "text", condition=CONDITIONS["text"]).transform is None
    assert from_diffusers(saved / "dit" / "transformer", condition=10).transform is None
    flow = from_diffusers(saved / "classes", condition=3)
    assert flow.given(5).params.condition
    with pytest.raises(ValueError, match="new condition must be a class from 0 to 9, got 10"):
        flow.given(10)
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        from_diffusers("stabilityai/anything")
