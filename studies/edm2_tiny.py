"""A tiny EDM2 network of random weights, under the names of a published checkpoint: what rehearses
`configs/paper`. ``python -m studies.edm2_tiny FOLDER`` writes its model folder, ``edm2-tiny``.
"""

from __future__ import annotations

import sys

import numpy as np

from densityguide import models

SIDE, CHANNELS, CLASSES, HEAD = 8, 4, 3, 8
WIDTHS, ATTENTION, BLOCKS = (16, 24), (False, True), 1

Arrays = dict[str, np.ndarray]


def arrays(seed: int = 0) -> Arrays:
    """Random arrays [outputs, inputs, ...] by published name, walked through as the paper's Figure
    21 draws the network."""
    draw = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return draw.normal(size=shape).astype(np.float32)

    def block(name: str, given: int, width: int, decodes: bool, attends: bool = False) -> None:
        found[f"{name}.emb_gain"] = np.float32(0.5)
        found[f"{name}.emb_linear.weight"] = normal(width, WIDTHS[-1])
        found[f"{name}.conv_res0.weight"] = normal(width, given if decodes else width, 3, 3)
        found[f"{name}.conv_res1.weight"] = normal(width, width, 3, 3)
        if given != width:
            found[f"{name}.conv_skip.weight"] = normal(width, given, 1, 1)
        if attends:
            found[f"{name}.attn_qkv.weight"] = normal(3 * width, width, 1, 1)
            found[f"{name}.attn_proj.weight"] = normal(width, width, 1, 1)

    found = {
        "unet.out_gain": np.float32(0.3),
        "unet.emb_fourier.freqs": normal(WIDTHS[0]),
        "unet.emb_fourier.phases": normal(WIDTHS[0]),
        "unet.emb_noise.weight": normal(WIDTHS[-1], WIDTHS[0]),
        "unet.emb_label.weight": normal(WIDTHS[-1], CLASSES),
        "unet.enc.8x8_conv.weight": normal(WIDTHS[0], CHANNELS + 1, 3, 3),
        "unet.out_conv.weight": normal(CHANNELS, WIDTHS[0], 3, 3),
        "logvar_fourier.freqs": normal(128),
        "logvar_fourier.phases": normal(128),
        "logvar_linear.weight": normal(1, 128),
    }
    first, last = WIDTHS
    block("unet.enc.8x8_block0", first, first, False)
    block("unet.enc.4x4_down", first, first, False)
    block("unet.enc.4x4_block0", first, last, False, True)
    block("unet.dec.4x4_in0", last, last, True, True)
    block("unet.dec.4x4_in1", last, last, True)
    block("unet.dec.4x4_block0", last + last, last, True, True)
    block("unet.dec.4x4_block1", last + first, last, True, True)
    block("unet.dec.8x8_up", last, last, True)
    block("unet.dec.8x8_block0", last + first, first, True)
    block("unet.dec.8x8_block1", first + first, first, True)
    return found


if __name__ == "__main__":
    place = sys.argv[1] if len(sys.argv) > 1 else "edm2-tiny"
    models.save_edm2(arrays(), place, head=HEAD)
    print(f"{place}: densityguide run configs/paper/rehearsal.toml --set model={place}")
