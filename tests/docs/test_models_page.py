"""The page of shipped models: it knows every one, and says what their cards say."""

import re
import sys
from pathlib import Path

import densityguide as dg
from densityguide.models import pretrained

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
import models


def test_every_model_has_its_row_and_every_picture_model_its_sheet():
    text = (models.HERE / "models.md").read_text("utf-8")
    found = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", text, re.MULTILINE))
    assert list(found) == dg.models.names()
    for name, cells in found.items():
        _, _, card = pretrained.load(pretrained.folder_of(name))
        kind, _, pictures, *errors = cells.split(" | ")[:6]
        assert kind.startswith(models.WORDS[card.path])
        assert pictures == models.seen(card)
        ratios = {one["log_snr"]: one["ratio"] for one in card.evaluation["heldout_error_of_x0"]}
        assert errors == [f"{ratios[level]:.2f}" for level in models.LEVELS]
        assert card.description in text
        assert (models.HERE / "models" / f"{name}.png").exists() == (len(card.shape) == 3)
