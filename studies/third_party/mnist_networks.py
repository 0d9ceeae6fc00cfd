"""Two MNIST networks trained by others, rebuilt from their descriptions; README.md says whose.

Plain functions of one picture [28, 28, 1] and their time; weights keep the names of the files.
"""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

import densityguide as dg

HERE = Path(__file__).parent
SHAPE = (28, 28, 1)
# What each takes for black and white.
RANGES = {"mnist_cnn": (-0.5, 0.5), "mnist_unet": (0.0, 1.0)}
NAMES = tuple(RANGES)


def weights(name):
    """The arrays of the file, convolutions as [H, W, in, out] and normalisation as [H, W, C]."""
    return {key: jnp.asarray(_channels_last(a)) for key, a in load_file(_file(name)).items()}


def _file(name):
    return HERE / f"{name}.safetensors"


def _channels_last(a):
    if a.ndim == 4:
        return a.transpose(2, 3, 1, 0)
    return a.transpose(1, 2, 0) if a.ndim == 3 else a


def conv(w, name, x, stride=1, padding="SAME"):
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (stride, stride)
    out = jax.lax.conv_general_dilated(
        x[None], w[f"{name}.weight"], strides, padding, dimension_numbers=layout
    )
    return out[0] + w[f"{name}.bias"]


def linear(w, name, x):
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def normed(w, name, x):
    x = (x - jnp.mean(x)) * jax.lax.rsqrt(jnp.var(x) + 1e-5)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


def cnn(w, x, t):
    """Noise in x, [28, 28, 1], at time t in [0, 1]: four convolutions of 7x7 and one of 3x3."""
    phases = t * w["gt.frequencies"]
    time = jnp.concatenate([jnp.sin(phases), jnp.cos(phases) - 1.0])
    for layer in (0, 2, 4):
        time = gelu(linear(w, f"gt.time_embed.{layer}", time))
    time = linear(w, "gt.time_embed.6", time)
    for block in range(4):
        x = conv(w, f"gt.blocks.{block}.net.0", x)
        x = gelu(normed(w, f"gt.blocks.{block}.net.1", x))
        x = x + time if block == 0 else x
    return conv(w, "gt.blocks.4", x)


def block(w, name, x):
    out = conv(w, f"{name}.conv1", normed(w, f"{name}.ln", x))
    out = conv(w, f"{name}.conv2", jax.nn.relu(out))
    wider = f"{name}.residual_conv.weight" in w
    skip = conv(w, f"{name}.residual_conv", x) if wider else x
    return jax.nn.relu(out + skip)


def twice(w, name, x):
    return block(w, f"{name}.1", block(w, f"{name}.0", x))


def up(w, name, x, size):
    """Transposed convolution of 2x2 with stride 2, zeros at the end up to ``size``."""
    height, width, _ = x.shape
    # Stored [H, W, out, in] by `_channels_last`, as torch keeps [in, out, H, W].
    out = jnp.einsum("ijc,aboc->iajbo", x, w[f"{name}.weight"])
    out = out.reshape(2 * height, 2 * width, -1) + w[f"{name}.bias"]
    return jnp.pad(out, ((0, size - 2 * height), (0, size - 2 * width), (0, 0)))


def sinusoid(t, size=128):
    """Row ``t`` of the table ``pe.embedding``, continued between whole numbers."""
    rates = 10000.0 ** (-jnp.arange(0, size, 2) / size)
    return jnp.stack([jnp.sin(t * rates), jnp.cos(t * rates)], axis=-1).reshape(-1)


def unet(w, x, t):
    """Noise in x, [28, 28, 1], at the index t of 0 to 999: U-Net with kinks (ReLU)."""
    embedding, kept = sinusoid(t), []
    for level in range(3):
        time = jax.nn.relu(linear(w, f"pe_linears_en.{level}.0", embedding))
        x = twice(w, f"encoders.{level}", x + linear(w, f"pe_linears_en.{level}.2", time))
        kept.append(x)
        x = conv(w, f"downs.{level}", x, 2, "VALID")
    x = twice(w, "mid", x + linear(w, "pe_mid", embedding))
    for level in range(3):
        skip = kept.pop()
        x = jnp.concatenate([skip, up(w, f"ups.{level}", x, skip.shape[0])], axis=-1)
        x = twice(w, f"decoders.{level}", x + linear(w, f"pe_linears_de.{level}", embedding))
    return conv(w, "conv_out", x)


class PerThousand:
    """The clock of the CNN: the index of a beta, by 1000; compared by value."""

    def __init__(self, betas):
        self.index = dg.clocks.ddpm(betas)

    def __call__(self, log_snr):
        return self.index(log_snr) / 1000.0

    def __eq__(self, other):
        return isinstance(other, PerThousand) and self.index == other.index

    def __hash__(self):
        return hash(self.index)


def parts(name):
    """What `dg.diffusion` takes for the network, to be wired right or wrong."""
    w = weights(name)
    wires = {"path": dg.paths.variance_preserving(), "prediction": "noise", "shape": SHAPE}
    if name == "mnist_cnn":
        betas = np.asarray(w.pop("beta_t"), np.float64)
        w.pop("alpha_t")
        network, clock = cnn, PerThousand(betas)
    else:
        betas = np.linspace(1e-4, 0.02, 1000)
        w.pop("pe.embedding.weight")
        network, clock = unet, dg.clocks.ddpm(betas)
    table = dg.clocks.ddpm_log_snr(betas)
    ends = (float(table[-1]), float(table[0]))
    return {"apply": network, "params": w, "clock": clock, "log_snr": ends, **wires}


@cache
def load(name):
    """The flow of "mnist_cnn" or "mnist_unet"."""
    return dg.diffusion(**parts(name))


def digits(name, count=64):
    """Digits like MNIST's, [count, 28, 28, 1] in the network's range: UCI's 8x8 ones drawn 20x20 by
    Lanczos' filter in the middle of a black square."""
    from PIL import Image

    from densityguide import data

    low, high = RANGES[name]
    pictures = np.zeros((count, *SHAPE), np.float32)
    for picture, small in zip(pictures, data.load("digits8").heldout[:count], strict=True):
        drawn = Image.fromarray((small[..., 0] * 15.9).astype(np.uint8))
        picture[4:24, 4:24, 0] = np.asarray(drawn.resize((20, 20), Image.Resampling.LANCZOS)) / 255
    return low + (high - low) * pictures
