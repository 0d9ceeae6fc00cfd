"""Weights of PyTorch modules come from their files, under any usual prefix, and none runs code."""

import pytest

import densityguide as dg

torch = pytest.importorskip("torch")
pytest.importorskip("torchax")
nn = torch.nn


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 4)


SAVED = {
    "state dict": lambda state: state,
    "checkpoint": lambda state: {"epoch": 3, "state_dict": state},
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "lightning": lambda state: {
        "state_dict": {f"module.model.{name}": value for name, value in state.items()}
    },
}


@pytest.mark.parametrize("name", SAVED)
def test_weights_come_from_a_file(tmp_path, name):
    source, other = Two(), Two()
    with torch.no_grad():
        source.first.weight += 1.0
    torch.save(SAVED[name](source.state_dict()), tmp_path / "weights.pth")
    loaded = dg.models.from_torch(other, tmp_path / "weights.pth")
    assert torch.equal(loaded.first.weight, source.first.weight)
    assert not torch.equal(other.first.weight, source.first.weight)
    assert not loaded.training


def test_weights_come_from_safetensors(tmp_path):
    from safetensors.torch import save_file

    source = Two()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    loaded = dg.models.from_torch(Two(), tmp_path / "weights.safetensors")
    assert torch.equal(loaded.second.bias, source.second.bias)


def test_a_checkpoint_of_several_is_asked_which(tmp_path):
    file, source, average = tmp_path / "weights.pth", Two(), Two()
    kept = {"model": source.state_dict(), "ema": average.state_dict(), "own": source.state_dict()}
    torch.save(kept | {"epoch": 3}, file)
    with pytest.raises(ValueError, match="it holds model, ema: say which, entry='ema'") as caught:
        dg.models.from_torch(Two(), file)
    assert "\n" not in str(caught.value)
    for entry, wanted in (("model", source), ("ema", average), ("own", source)):
        loaded = dg.models.from_torch(Two(), file, entry=entry)
        assert torch.equal(loaded.first.weight, wanted.first.weight)
    torch.save({"model": source.state_dict(), "ema": {"decay": 0.9, "shadow": kept["ema"]}}, file)
    with pytest.raises(
        ValueError, match=r"holds model, ema\.shadow: say which, entry='ema.shadow'"
    ):
        dg.models.from_torch(Two(), file)
    loaded = dg.models.from_torch(Two(), file, entry="ema.shadow")
    assert torch.equal(loaded.first.weight, average.first.weight)
    torch.save(kept | {"epoch": 3}, file)
    for entry in ("epoch", "averages", "ema.shadow"):
        with pytest.raises(ValueError, match=f"as {entry}, it holds model, ema, own, epoch: save"):
            dg.models.from_torch(Two(), file, entry=entry)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit(3)",))


def test_files_that_are_no_weights_are_one_line(tmp_path):
    file = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match="found none at"):
        dg.models.from_torch(Two(), file)
    for content, words in (
        (Trap(), "would run code"),
        ({"epoch": 3}, "it holds epoch: save module.state_dict"),
        (nn.Linear(1, 1).state_dict(), "another architecture than Two"),
        ({"first.weight": torch.zeros(2, 2)}, "1 of another shape"),
    ):
        torch.save(content, file)
        with pytest.raises(ValueError, match=words) as caught:
            dg.models.from_torch(Two(), file)
        assert "\n" not in str(caught.value)
    file.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is damaged or holds objects"):
        dg.models.from_torch(Two(), file)


def test_a_prefix_is_dropped_only_where_the_rest_fits(tmp_path):
    """`first.` stands before both names of one layer, and is not a prefix of Two's."""
    file = tmp_path / "weights.pth"
    torch.save(
        {f"first.{name}": value for name, value in nn.Linear(5, 8).state_dict().items()}, file
    )
    with pytest.raises(ValueError, match="2 missing, 0 more, 0 of another shape"):
        dg.models.from_torch(Two(), file)
