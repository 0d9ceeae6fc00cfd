"""Data of one's own: npz files, folders of pictures, and batches read ahead."""

import numpy as np
import pytest
from PIL import Image

from densityguide import data
from densityguide.data import folder, pictures
from densityguide.data.split import held_out
from densityguide.data.stream import ahead

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 4, 4, 1)).astype(np.uint8)


def test_npz_of_images_is_split_by_its_bytes(tmp_path):
    labels = np.arange(200) % 3
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=labels)
    found = data.load(tmp_path / "mine.npz")
    assert found.shape == (4, 4, 1)
    assert found.levels == 256
    assert found.name == "mine"
    mask = np.asarray([held_out(image) for image in IMAGES])
    assert 0 < mask.sum() < 30
    np.testing.assert_array_equal(found.heldout, IMAGES[mask])
    np.testing.assert_array_equal(found.labels, labels[~mask])
    np.testing.assert_array_equal(found.heldout_labels, labels[mask])
    np.savez(tmp_path / "turned.npz", images=IMAGES[::-1])
    turned = data.load(tmp_path / "turned.npz")
    np.testing.assert_array_equal(turned.heldout[::-1], found.heldout)


def test_npz_of_points(tmp_path):
    values = RNG.standard_normal((90, 2)).astype(np.float32)
    np.savez(tmp_path / "points.npz", train=values[:80], heldout=values[80:])
    found = data.load(tmp_path / "points.npz")
    assert found.levels == 0
    assert found.transform is None
    np.testing.assert_array_equal(found.train, values[:80])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": IMAGES}, "found pictures"),
        ({"images": IMAGES / 255.0}, r"got images float64 \[200, 4, 4, 1\]"),
        ({"images": IMAGES[..., 0]}, r"got images uint8 \[200, 4, 4\]"),
        ({"images": np.full((4, 2), np.nan, np.float32)}, "expected finite points"),
        ({"images": IMAGES, "labels": np.arange(3)}, "expected labels as 200 integers"),
        ({"images": IMAGES, "labels": np.full(200, 2**40)}, "expected labels as 200 integers"),
        ({"images": IMAGES, "levels": 17}, r"expected levels from \d+ to 256"),
        ({"images": IMAGES, "levels": 3.5}, "expected levels as one integer"),
        ({"images": IMAGES[:1]}, "both sides of the split"),
        ({"train": IMAGES, "heldout": IMAGES[:, :2]}, "of one shape"),
        ({"images": np.asarray([{}])}, "npz file of plain arrays"),
    ],
)
def test_wrong_arrays_are_one_line(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=words) as caught:
        data.load(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive at all"])
def test_damaged_npz_is_one_line(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="npz file of plain arrays") as caught:
        data.load(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_npz_of_flipped_bytes_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=IMAGES % 4)
    whole = path.read_bytes()
    for start in range(60, len(whole) - 200, 100):
        path.write_bytes(whole[:start] + b"\xff" * 8 + whole[start + 8 :])
        with pytest.raises(ValueError, match="npz file of plain arrays") as caught:
            data.load(path)
        assert "\n" not in str(caught.value)


def test_missing_files(tmp_path):
    for name in ("none.npz", "none/"):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            data.load(f"{tmp_path}/{name}", shape=(4, 4, 3))
    with pytest.raises(ValueError, match="did you mean 'photos16'"):
        data.load("photo16")


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """150 pictures of three classes, of many sizes and kinds."""
    root = tmp_path_factory.mktemp("album")
    rng = np.random.default_rng(1)
    for index in range(150):
        size = rng.integers(9, 40, 2)
        pixels = rng.integers(0, 256, (*size, 4)).astype(np.uint8)
        kind = ("RGB", "RGBA", "L")[index % 3]
        below = root / kind
        below.mkdir(exist_ok=True)
        Image.fromarray(pixels).convert(kind).save(below / f"{index:03d}.png")
    return root


def test_folder_in_memory_and_on_disk_are_the_same(album):
    kept = data.load(album, shape=(8, 6, 3))
    lazy = data.load(album, shape=(8, 6, 3), memory=0.0)
    assert isinstance(lazy.train, folder.Files)
    assert kept.shape == lazy.shape == (8, 6, 3)
    assert kept.checksum == lazy.checksum
    assert set(kept.labels) == {0, 1, 2}
    assert len(kept.train) + len(kept.heldout) == 150
    assert not any(held_out(image) for image in kept.train)
    np.testing.assert_array_equal(kept.heldout, lazy.heldout)
    index = np.asarray([5, 0, 99])
    np.testing.assert_array_equal(kept.train[index], lazy.train[index])
    np.testing.assert_array_equal(kept.labels, lazy.labels)
    assert data.load(album, shape=(8, 6, 1)).checksum != kept.checksum


def test_batches_read_ahead_come_in_order_from_anywhere():
    read = lambda step: {"a": np.full(2, step), "b": None}  # noqa: E731
    steps = [int(batch["a"][0]) for batch in ahead(read, 37, 90)]
    assert steps == list(range(37, 90))


def test_pictures_are_cut_around_their_centre(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(folder.decode(tmp_path / "wide.png", (10, 10, 1)), 200)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(folder.decode(tmp_path / "clear.png", (4, 4, 3)), 255)


def test_wrong_folders_are_one_line(tmp_path, album):
    with pytest.raises(ValueError, match="found none"):
        data.load(tmp_path, shape=(4, 4, 3))
    with pytest.raises(ValueError, match=r"expected shape = \[H, W, 1\]"):
        data.load(album)
    (tmp_path / "broken.png").write_bytes((album / "RGB" / "000.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"broken\.png cannot be decoded") as caught:
        data.load(tmp_path, shape=(4, 4, 3))
    assert "\n" not in str(caught.value)
    Image.fromarray(np.full((8, 8), 300, np.uint16)).save(tmp_path / "broken.png")
    with pytest.raises(ValueError, match=r"mode I;16, expected 8 bits a channel"):
        data.load(tmp_path, shape=(4, 4, 3))
    (tmp_path / "broken.png").unlink()
    Image.new("L", (8, 8)).save(tmp_path / "only.png")
    with pytest.raises(ValueError, match="both sides of the split"):
        data.load(tmp_path, shape=(4, 4, 3))


def test_pictures_of_samples(tmp_path):
    images = np.arange(4)[:, None, None, None] * np.ones((4, 2, 3, 1))
    assert pictures.grid(images, 2).shape == (4, 6, 1)
    np.testing.assert_array_equal(pictures.grid(images, 2)[::2, ::3, 0], [[0, 1], [2, 3]])
    spaced = pictures.grid(images, 2, gap=1, fill=7)[..., 0]
    assert spaced.shape == (5, 7)
    np.testing.assert_array_equal(spaced[[0, 2, 3]][:, [0, 3, 4]], [[0, 7, 1], [7] * 3, [2, 7, 3]])
    pictures.save(tmp_path / "a.png", pictures.grid(images, 2).astype(np.uint8), 4, 5)
    stored = np.asarray(Image.open(tmp_path / "a.png"))
    assert stored.shape == (20, 30)
    assert stored.max() == 255
    dots = np.asarray([[0.5, 1.0], [0.5, 1.0], [np.nan, 0.0], [9.0, 9.0]])
    drawn = pictures.points(dots, 26)[..., 0]
    np.testing.assert_array_equal(np.argwhere(drawn < 255), [[3, 18]])
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
