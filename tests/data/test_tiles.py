"""The tiles that ship with the package: their split, their classes, their bytes."""

import numpy as np

from densityguide import data
from densityguide.data import tiles

CHECKSUM = "e210702939da0f80606f17aee418273004a3fdc4fa01d6a4884553a4e7f41bd8"


def test_tiles_are_the_shipped_ones_with_their_classes():
    found = data.load("tiles32")
    assert found.checksum == CHECKSUM
    assert (len(found.train), len(found.heldout)) == (4939, 368)
    assert found.shape == (32, 32, 3)
    assert found.levels == 256
    assert "CC0" in found.licence
    assert found.classes[2] == "floor"
    assert found.classes[8] == "wall"
    for labels, images in ((found.labels, found.train), (found.heldout_labels, found.heldout)):
        assert labels.shape == (len(images),)
        assert set(labels) == set(range(len(found.classes)))


def test_no_base_name_is_on_both_sides_of_the_split():
    with np.load(tiles.FILE) as stored:
        names, mask = stored["names"], stored["heldout"]
    sides = [{tiles.base_name(name) for name in names[mask == held]} for held in (False, True)]
    assert sides[0].isdisjoint(sides[1])
    assert len(sides[1]) == 300
    images = tiles.read()[0]
    assert len({image.tobytes() for image in images}) == len(images)
