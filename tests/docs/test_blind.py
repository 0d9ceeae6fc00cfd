"""The blind sheet: what its answers say is what stands on it."""

import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import blind


def test_every_latent_is_there_twice_and_smooth_ones_are_denser():
    text = (blind.OUT / "blind-answers.md").read_text("utf-8")
    rows = re.findall(
        r"^\| (\w\d) \| (\w+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", text, re.MULTILINE
    )
    assert [row[0] for row in rows] == blind.names(36)
    asked = {(row[4], row[1]): float(row[3]) for row in rows}
    assert len(asked) == 36
    for latent in {row[4] for row in rows}:
        assert asked[latent, "more"] > asked[latent, "less"]  # bits/dim: less is denser


def test_the_sheet_gives_nothing_away():
    order = blind.shuffled(36)
    assert sorted(order) == list(range(36))
    neighbours = np.abs(np.diff(order // 2)) == 0  # both pictures of a latent side by side
    assert neighbours.sum() <= 3
    drawn = blind.sheet(np.zeros((36, 32, 32, 3), np.uint8))
    assert Image.open(blind.OUT / "blind.png").size == drawn.size
