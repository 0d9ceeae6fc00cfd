"""From a prompt to pictures: tiny pipelines of diffusers' own classes, saved by their own
``save_pretrained`` with random weights, against what those pipelines do themselves."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from densityguide.flow.conditions import Mixed

torch = pytest.importorskip("torch", reason="needs the extra diffusers, tested on its own")
pytest.importorskip("torchax", reason="needs the extra diffusers, tested on its own")
diffusers = pytest.importorskip("diffusers", reason="needs the extra diffusers, tested on its own")
pytest.importorskip("transformers", reason="needs the extra diffusers, tested on its own")

import tiny_pipelines  # noqa: E402

from densityguide.models.diffusers import from_diffusers, image_decoder  # noqa: E402

pytestmark = pytest.mark.slow

PROMPT, NEGATIVE, SCALE = "a cat on a mat", "blurry", 3.0
SIZE = (tiny_pipelines.SIDE, tiny_pipelines.SIDE)
WIDE = (-16.0, 16.0)  # of flow matching, whose own solve goes from sigma 1 to 0
ALL = ["sd", "sd-v", "xl", "sd3", "flux", "flux-plain", "pixart"]
DISTILLED = ("flux",)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pipelines")


@functools.cache
def theirs(root, name):
    """The pipeline as diffusers loads it."""
    without = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3-two" else {}
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_pipelines.save(root, name), **without)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@functools.cache
def ours(root, name):
    linear = {"log_snr": WIDE} if name.startswith(("sd3", "flux")) else {}
    negative = "" if name in DISTILLED else NEGATIVE
    return from_diffusers(
        tiny_pipelines.save(root, name),
        prompt=PROMPT,
        negative=negative,
        scale=SCALE,
        shape=SIZE,
        **linear,
    )


def noise(flow, seed=0):
    return np.random.default_rng(seed).normal(size=flow.shape).astype(np.float32)


def first(tensor):
    """[1, C, H, W] as [H, W, C]."""
    return np.moveaxis(np.asarray(tensor)[0], 0, -1)


def unpacked(pipe, tensor):
    if not hasattr(pipe, "_unpack_latents"):
        return first(tensor)
    pixels = 2 * tiny_pipelines.SIDE
    return first(pipe._unpack_latents(tensor, pixels, pixels, pipe.vae_scale_factor))


@contextlib.contextmanager
def spied(pipe):
    """What every step of the scheduler takes, and its next x."""
    taken, step = [], pipe.scheduler.step

    @functools.wraps(step)
    def spy(output, t, x, **more):
        after = step(output, t, x, **more)
        taken.append((output, float(t), x, after[0]))
        return after

    pipe.scheduler.step = spy
    try:
        yield taken
    finally:
        del pipe.scheduler.step


def run(root, name, x, steps):
    """Picture [H, W, 3], and (network's guided output, time, x, next x) of each step."""
    pipe = theirs(root, name)
    pixels = 2 * tiny_pipelines.SIDE
    latents = torch.tensor(np.moveaxis(x, -1, 0)[None])
    options = {"guidance_scale": SCALE, "negative_prompt": NEGATIVE}
    if name.startswith("flux"):
        latents = pipe._pack_latents(latents, 1, x.shape[-1], *SIZE)
    if name in DISTILLED:
        del options["negative_prompt"]
    elif name.startswith("flux"):
        options = {"true_cfg_scale": SCALE, "negative_prompt": NEGATIVE}
    if name.startswith("pixart"):
        options |= {"clean_caption": False, "use_resolution_binning": False}
    with torch.no_grad(), spied(pipe) as taken:
        picture = pipe(
            PROMPT,
            height=pixels,
            width=pixels,
            num_inference_steps=steps,
            latents=latents,
            output_type="np",
            **options,
        ).images[0]
    return picture, taken


def encoded(pipe, name):
    """What the pipeline's own ``encode_prompt`` returns, by the names of the network's arguments:
    for the prompt, and for the negative one."""
    with torch.no_grad():
        if name.startswith("flux"):
            found = [pipe.encode_prompt(text, None) for text in (PROMPT, NEGATIVE)]
            names = ("encoder_hidden_states", "pooled_projections")
            return [dict(zip(names, one[:2], strict=True)) for one in found]
        extra = {"sd": ("cpu", 1, True), "sd3": (None, None)}.get(name.split("-")[0], ())
        extra = () if pipe.__class__.__name__.startswith("PixArt") else extra
        found = pipe.encode_prompt(PROMPT, *extra, negative_prompt=NEGATIVE)
    if name.startswith("sd-") or name == "sd":
        return [{"encoder_hidden_states": one} for one in found]
    if name.startswith("pixart"):
        names = ("encoder_hidden_states", "encoder_attention_mask")
        return [dict(zip(names, found[n : n + 2], strict=True)) for n in (0, 2)]
    pooled = "text_embeds" if name == "xl" else "pooled_projections"
    return [{"encoder_hidden_states": found[n], pooled: found[n + 2]} for n in (0, 1)]


def told(flow):
    """The conditions of a flow, flat."""
    params = flow.params
    mixed = isinstance(params, Mixed)
    parts = [params.base.condition, params.negative] if mixed else [params.condition]
    return [part | part.get("added_cond_kwargs", {}) for part in parts]


@pytest.mark.parametrize("name", [*ALL, "sd3-two"])
def test_the_network_is_told_what_the_pipeline_encodes(root, name):
    flow = ours(root, name)
    for one, expected in zip(told(flow), encoded(theirs(root, name), name), strict=False):
        for key, value in expected.items():
            np.testing.assert_allclose(one[key], np.asarray(value)[0], atol=1e-6, err_msg=key)
    assert isinstance(flow.params, Mixed) == (name not in DISTILLED)


def noise_of(flow, x, log_snr):
    """The noise that the flow sees in x, at the path's own scale."""
    return -flow.path.sigma(log_snr) * flow.score(x, log_snr)


def at_path(pipe, name, flow, output, t, x):
    """(x on the flow's path, log-SNR, noise) of one step of the pipeline."""
    if flow.path.name == "linear":
        sigma = t / 1000.0
        return x, 2.0 * np.log((1.0 - sigma) / sigma), x + (1.0 - sigma) * output
    abar = float(pipe.scheduler.alphas_cumprod[round(t)])
    alpha, sigma = abar**0.5, (1.0 - abar) ** 0.5
    x = alpha * x if name == "xl" else x  # Euler's scheduler works on x / alpha
    eps = alpha * output + sigma * x if name == "sd-v" else output
    return x, np.log(abar / (1.0 - abar)), eps


def sees_the_same_noise(flow, pipe, name, taken):
    """The guided network, at states and times of the pipeline's own."""
    field = jax.jit(lambda x, t: noise_of(flow, x, t))
    for output, t, at, _ in taken:
        output, at = unpacked(pipe, output)[..., : flow.shape[-1]], unpacked(pipe, at)
        at, log_snr, expected = at_path(pipe, name, flow, output, t, at)
        found = field(jnp.asarray(at), log_snr)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, atol=2e-5 * scale, err_msg=f"t {t}")


@pytest.mark.parametrize("name", ALL)
def test_solving_is_what_the_pipeline_does_in_the_limit_of_many_steps(root, name):
    """Every stage of one run: the guided network at the pipeline's own states, the latent that both
    come to, and its picture."""
    flow, pipe = ours(root, name), theirs(root, name)
    x = noise(flow)
    ends = []
    for steps in (100, 200):
        picture, taken = run(root, name, x, steps)
        ends.append(unpacked(pipe, taken[-1][3]))

    sees_the_same_noise(flow, pipe, name, taken[1:-1:66])
    start = x * float(flow.path.sigma(flow.interval[0])) if name == "xl" else x
    out = dg.sample(flow, start, steps=96, divergence=None)
    # Both are of first order, so that twice the finer less the coarser is of second.
    expected = 2.0 * ends[1] - ends[0]
    if name != "xl" and flow.path.name != "linear":
        expected, ends = expected / flow.end_scale(), [end / flow.end_scale() for end in ends]
    coarse, fine, off = (np.abs(out.x - end).max() for end in (*ends, expected))
    assert fine < 0.7 * coarse
    assert off < min(0.5 * fine, 1e-3 * np.abs(expected).max())

    decoded = image_decoder(tiny_pipelines.save(root, name))(unpacked(pipe, taken[-1][3])[None])
    assert np.abs(decoded[0] - 255.0 * picture).max() < 1.5


def test_a_network_that_is_told_the_size_of_the_picture(root):
    flow = ours(root, "pixart-sizes")
    np.testing.assert_array_equal(told(flow)[0]["resolution"], [16.0, 16.0])
    _, taken = run(root, "pixart-sizes", noise(flow), 3)
    sees_the_same_noise(flow, theirs(root, "pixart-sizes"), "pixart-sizes", taken[1:])


def test_no_negative_prompt_of_xl_is_zeros(root):
    flow = from_diffusers(tiny_pipelines.save(root, "xl"), prompt=PROMPT)
    negative = flow.params.negative
    assert not np.any(negative["encoder_hidden_states"])
    assert not np.any(negative["added_cond_kwargs"]["text_embeds"])
    assert np.any(negative["added_cond_kwargs"]["time_ids"])


def test_classes_and_their_guidance(root):
    """DiT: no prompt, a class, and its row for none as the negative."""
    folder, pipe = tiny_pipelines.save(root, "dit"), theirs(root, "dit")
    flow = dg.classifier_free(from_diffusers(folder, condition=3), SCALE, negative=1000)
    with spied(pipe) as taken:
        picture = pipe(
            [3],
            guidance_scale=SCALE,
            generator=torch.manual_seed(1),
            num_inference_steps=4,
            output_type="np",
        ).images[0]
    sees_the_same_noise(flow, pipe, "dit", taken)
    decoded = image_decoder(folder)(first(taken[-1][3])[None])
    assert np.abs(decoded[0] - 255.0 * picture).max() < 1.5
