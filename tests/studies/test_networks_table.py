"""The table of networks: one row, small; what is kept is not measured again."""

import json

import pytest

from studies.__main__ import main
from studies.networks import subjects


@pytest.mark.slow
def test_one_row_is_measured_kept_and_written(tmp_path, capsys):
    name = "equinox, closed form"
    assert main(["networks", name, "--small", "--out", str(tmp_path)]) == 0
    row = json.loads((tmp_path / "networks.json").read_text())[name]
    assert row["failed"] == []
    assert (row["rises"], row["latents"], row["unusable"]) == (2, 2, 0)
    assert row["apart"] < 2.0
    assert f"| {name} | nothing |" in (tmp_path / "networks.md").read_text()
    capsys.readouterr()
    kept = dict.fromkeys(subjects.SUBJECTS, row)
    (tmp_path / "networks.json").write_text(json.dumps(kept))
    assert main(["networks", "--small", "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "networks.json").read_text()) == kept
    assert main(["networks", "nobody", "--out", str(tmp_path)]) == 2
    assert "unknown network 'nobody': choose among MNIST CNN" in capsys.readouterr().err


def test_what_the_user_writes_is_counted_without_imports():
    assert subjects.SUBJECTS["MNIST CNN, in JAX"].lines == 1
    assert subjects.SUBJECTS["azula GaussianDenoiser, VP, closed form"].lines == 3
