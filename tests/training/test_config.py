import json
from pathlib import Path

import pytest

from densityguide.training import config as configs

BASE = {"name": "a", "data": "digits8"}


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"sead": 1}, "did you mean 'seed'"),
        ({"optimiser": {"step": 5}}, "optimiser.step: did you mean 'steps'"),
        ({"loss": {"predict": "v"}}, "did you mean 'prediction'"),
        ({"model": 3}, r"expected a table \[model\]"),
        ({"optimiser": {"batch": "many"}}, "a whole number for optimiser.batch, got 'many'"),
        ({"optimiser": {"ema": True}}, "expected a number for optimiser.ema, got true"),
        ({"optimiser": {"ema": "0.9"}}, "expected a number for optimiser.ema, got '0.9'"),
        ({"optimiser": {"batch": 8.0}}, "expected a whole number for optimiser.batch, got 8.0"),
        ({"loss": {"log_snr": [1.0, 2.0, 3.0]}}, r"expected a list of 2 for loss\.log_snr, got"),
        ({"loss": {"path": 1.5}}, r"expected a text for loss\.path, got 1\.5"),
        ({"optimiser": {"steps": 0}}, "expected steps > 0"),
        ({"optimiser": {"ema": 7.0}}, r"expected ema in \[0, 1\)"),
        ({"optimiser": {"warmup": -5}}, "expected warmup >= 0"),
        ({"loss": {"adapt": 1.0}}, r"expected adapt in \[0, 1\)"),
        ({"loss": {"weighting": "elbo"}}, r"expected loss\.weighting quality or likelihood"),
        ({"loss": {"weighting": "likelihood", "error": "v"}}, r"expected loss\.error empty"),
        ({"preview": -1}, "expected preview >= 0"),
        ({"seed": -1}, r"expected seed in 0 \.\."),
        ({"optimiser": {"steps": 2**31}}, "expected steps below"),
        ({"optimiser": {"learning_rate": float("inf")}}, "expected finite learning_rate > 0"),
        ({"optimiser": {"clip": 0.0}}, "expected finite clip > 0"),
        ({"optimiser": {"weight_decay": -1.0}}, "expected finite weight_decay >= 0"),
        ({"loss": {"scale": -1.0}}, "expected finite scale > 0"),
        ({"loss": {"centre": 1000.0}}, r"expected loss\.centre near"),
        ({"loss": {"log_snr": [-float("inf"), 3.0]}}, r"expected finite loss\.log_snr"),
        ({"loss": {"log_snr": [3.0, -3.0]}}, "low < high"),
        ({"optimiser": {"steps": 100}}, r"expected optimiser\.decay up .* 4000 and 100: .*= 50"),
        ({"model": {"fields": {"sigma_data": 0.5}}}, r"expected loss\.prediction data and loss"),
    ],
)
def test_mistakes_are_one_clear_line(extra, words):
    with pytest.raises(ValueError, match=words) as caught:
        configs.from_dict(BASE | extra)
    assert "\n" not in str(caught.value)


def test_missing_name_is_refused():
    with pytest.raises(ValueError, match="bad configuration"):
        configs.from_dict({"data": "digits8"})


def test_round_trip_through_json():
    config = configs.from_dict(BASE | {"loss": {"log_snr": [-9.0, 8.0]}})
    assert configs.from_dict(json.loads(json.dumps(configs.to_dict(config)))) == config


def test_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        configs.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(ValueError, match="expected TOML"):
        configs.read(tmp_path / "bad.toml")


FOLDER = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml") if "[optimiser]" in path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_shipped_configurations_read(name):
    assert configs.read(FOLDER / f"{name}.toml").name == name
