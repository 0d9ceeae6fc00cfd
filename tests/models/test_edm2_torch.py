"""EDM2's network against one written in PyTorch from the paper, channels first, which reads the
arrays under their published names."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import densityguide as dg
from studies import edm2_tiny as tiny

torch = pytest.importorskip("torch")
functional = torch.nn.functional
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


class Theirs:
    """The denoiser D(x; sigma, label) of one batch."""

    def __init__(self, arrays, head):
        self.arrays = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
        self.head = head

    def weight(self, name):
        """Rows of unit root mean square, over the root of their length."""
        found = self.arrays[f"{name}.weight"]
        rows = found.flatten(1)
        length = rows.shape[1] ** 0.5
        rows = rows / (1e-4 + rows.norm(dim=1, keepdim=True) / length)
        return (rows / length).view(found.shape)

    def conv(self, name, x):
        weight = self.weight(name)
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2)

    def block(self, name, x, embedding, encodes):
        def silu(x):
            return functional.silu(x) / 0.596

        def fitted(x):
            return self.conv(f"{name}.conv_skip", x) if f"{name}.conv_skip.weight" in has else x

        has = self.arrays
        if encodes:
            x = fitted(x)
            x = x / (1e-4 + x.square().mean(1, keepdim=True).sqrt())
        scale = has[f"{name}.emb_gain"] * embedding @ self.weight(f"{name}.emb_linear").T + 1
        y = self.conv(f"{name}.conv_res0", silu(x)) * scale[:, :, None, None]
        y = self.conv(f"{name}.conv_res1", silu(y))
        x = (0.7 * (x if encodes else fitted(x)) + 0.3 * y) / (0.49 + 0.09) ** 0.5
        if f"{name}.attn_qkv.weight" in has:
            x = (0.7 * x + 0.3 * self.attend(name, x)) / (0.49 + 0.09) ** 0.5
        return x.clamp(-256, 256)

    def attend(self, name, x):
        number, channels, height, width = x.shape
        parts = self.conv(f"{name}.attn_qkv", x)
        # Channel h * 3 c + 3 i + k is number i of head h, of its query, key or value.
        parts = parts.view(number, channels // self.head, self.head, 3, height * width)
        parts = parts / (1e-4 + parts.square().mean(2, keepdim=True).sqrt())
        q, k, v = (parts[:, :, :, n].transpose(2, 3) for n in range(3))  # [N, heads, pixels, c]
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.conv(f"{name}.attn_proj", mixed.transpose(2, 3).reshape(x.shape))

    def embed(self, c_noise, one_hot):
        a = self.arrays
        angles = c_noise[:, None] * a["unet.emb_fourier.freqs"] + a["unet.emb_fourier.phases"]
        noise = 2**0.5 * angles.cos() @ self.weight("unet.emb_noise").T
        told = one_hot * one_hot.shape[1] ** 0.5 @ self.weight("unet.emb_label").T
        return functional.silu((noise + told) / 2 / 0.5**0.5) / 0.596

    def raw(self, x, c_noise, one_hot):
        """The tiny network, place by place."""
        embedding = self.embed(c_noise, one_hot)

        def enc(place, x):
            return self.block(f"unet.enc.{place}", x, embedding, True)

        def dec(place, x, skip=None):
            if skip is not None:
                both = [x / x.shape[1] ** 0.5, skip / skip.shape[1] ** 0.5]
                total = x.shape[1] + skip.shape[1]
                x = torch.cat(both, 1) * (total / 2) ** 0.5
            return self.block(f"unet.dec.{place}", x, embedding, False)

        skips = [self.conv("unet.enc.8x8_conv", torch.cat([x, torch.ones_like(x[:, :1])], 1))]
        skips.append(enc("8x8_block0", skips[-1]))
        skips.append(enc("4x4_down", functional.avg_pool2d(skips[-1], 2)))
        skips.append(enc("4x4_block0", skips[-1]))
        x = dec("4x4_in1", dec("4x4_in0", skips[-1]))
        x = dec("4x4_block0", x, skips.pop())
        x = dec("4x4_block1", x, skips.pop())
        x = dec("8x8_up", functional.interpolate(x, scale_factor=2, mode="nearest"))
        x = dec("8x8_block0", x, skips.pop())
        x = dec("8x8_block1", x, skips.pop())
        return self.arrays["unet.out_gain"] * self.conv("unet.out_conv", x)

    def __call__(self, x, sigma, one_hot):
        sigma = torch.as_tensor(sigma)
        total = (sigma**2 + 0.25).sqrt()
        out = self.raw(x / total, (sigma.log() / 4)[None], one_hot)
        return 0.25 / total**2 * x + sigma * 0.5 / total * out


@pytest.mark.parametrize("label", [-1, 0, 2])
def test_the_denoiser_is_that_of_pytorch(label):
    flow = dg.models.from_edm2(tiny.arrays(), head=tiny.HEAD).given(label)
    theirs = Theirs(tiny.arrays(), tiny.HEAD)
    one_hot = torch.zeros(1, tiny.CLASSES)
    if label >= 0:
        one_hot[0, label] = 1.0
    denoised = jax.jit(lambda flow, x, t: x + jnp.exp(-t) * flow.score(x, t))
    for sigma in (0.01, 0.5, 20.0):
        x = np.random.default_rng(3).normal(size=flow.shape).astype(np.float32)
        x *= np.float32((sigma**2 + 0.25) ** 0.5)
        with torch.no_grad():
            inputs = torch.from_numpy(x).movedim(-1, 0)[None]
            expected = theirs(inputs, np.float32(sigma), one_hot)[0].movedim(0, -1).numpy()
        ours = denoised(flow, x, jnp.float32(-2.0 * np.log(sigma)))
        print(sigma, np.abs(ours - expected).max(), np.abs(expected - x).max())
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_latents_become_pictures_by_the_autoencoder_inside(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    pytest.importorskip("torchax")
    import tiny_pipelines

    from densityguide.app import jobs

    folder = tmp_path / "edm2-tiny"
    dg.models.save_edm2(tiny.arrays(), folder, head=tiny.HEAD)
    assert dg.models.image_decoder(folder) is None
    tiny_pipelines.vae().save_pretrained(folder / "vae")
    latents = 0.5 * np.random.default_rng(1).normal(size=(2, 8, 8, 4)).astype(np.float32)
    module = diffusers.AutoencoderKL.from_pretrained(folder / "vae").eval()
    raw = latents / 0.5 * [4.17, 4.62, 3.71, 3.28] + [5.81, 3.25, 0.12, -2.15]
    with torch.no_grad():
        inputs = torch.tensor(raw, dtype=torch.float32).movedim(-1, 1)
        expected = module.decode(inputs, return_dict=False)[0].movedim(1, -1).numpy()
    ours = dg.models.image_decoder(folder)(latents)
    assert np.abs(ours.astype(float) - 255.0 * expected.clip(0.0, 1.0)).max() < 1.0
    assert len(np.unique(ours)) > 10
    changes = [
        f"model={folder}",
        "images=true",
        "count=2",
        "solve.steps=4",
        "guidance.values=[0.5]",
    ]
    rehearsal = jobs.read(ROOT / "configs" / "paper" / "rehearsal.toml", changes)
    jobs.run(rehearsal, tmp_path / "out")
    assert jobs.open(tmp_path / "out")["images"].shape == (2, 16, 16, 3)


@pytest.mark.parametrize(
    "change",
    [None, 3, {}, {"scale": [1.0]}, {"scale": "4"}, {"mean": [0, 0, 0, "x"]}, {"pixels": [1, 0]}],
)
def test_units_of_latents_that_are_none_are_refused(tmp_path, change):
    pytest.importorskip("diffusers")
    dg.models.save_edm2(tiny.arrays(), tmp_path, head=tiny.HEAD)
    file = tmp_path / "card.json"
    card = json.loads(file.read_text())
    told = card["transform"]["latents"]
    card["transform"]["latents"] = told | change if isinstance(change, dict) and change else change
    file.write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r"transform.latents in .*save the model again") as caught:
        dg.models.image_decoder(tmp_path)
    assert "\n" not in str(caught.value)
