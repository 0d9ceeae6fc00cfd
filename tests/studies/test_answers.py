"""A question from settings to pages: what is measured once is kept, and nothing is mixed up."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from densityguide.disk import settings
from studies import evidence
from studies.evidence import config, questions, subjects
from studies.evidence import page as pages
from studies.evidence.study import Claim, Question, Reading, Section, agreed, verdict


@dataclass(frozen=True)
class Settings:
    models: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    values: tuple[float, ...] = (0.5,)


@pytest.fixture
def toy(monkeypatch):
    """A question that counts how often it is measured."""
    measured = []

    def measure(settings, model):
        measured.append(model)
        if model == "emoji32":
            raise RuntimeError("the machine is taken away")
        return {"value": np.arange(settings.models[model], dtype=float)}

    def read(settings, found):
        sums = [float(rows["value"].sum()) for rows in found.values()]
        claim = Claim(
            "Sums are positive.", f"{sums}", "all above 0", verdict([s > 0 for s in sums])
        )
        return Reading(
            [Section("Sums", "", ("model", "sum"), list(zip(found, sums, strict=True)))], [claim]
        )

    asked = Question("Are sums positive?", "They are added.", Settings, measure, read)
    monkeypatch.setitem(questions.QUESTIONS, "toy", asked)
    return measured


def test_pages_and_rows(toy, tmp_path):
    values = {"question": "toy", "models": {"digits8": 8}}
    found = evidence.run(values, str(tmp_path))
    assert found["claims"][0]["verdict"] == "holds (1 of 1)"
    page = (tmp_path / "toy.md").read_text()
    assert "| digits8 | 28 |" in page
    assert "python -m studies evidence configs/evidence/toy.toml" in page
    assert "[Are sums positive?](toy.md)" in (tmp_path / "index.md").read_text()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    evidence.run(values, str(tmp_path))
    assert toy == ["digits8"], "what was measured is not measured again"
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.*")}


def test_what_was_finished_stays(toy, tmp_path):
    values = {"question": "toy", "models": {"digits8": 8, "emoji32": 8}}
    with pytest.raises(RuntimeError):
        evidence.run(values, str(tmp_path))
    with pytest.raises(RuntimeError):
        evidence.run(values, str(tmp_path))
    assert toy == ["digits8", "emoji32", "emoji32"]
    assert not (tmp_path / "toy.md").exists(), "no page of half the models"


def test_the_summary_keeps_its_own_words(toy, tmp_path):
    words = "Above.\n\n<!-- claims -->\nstale\n<!-- /claims -->\n\nBelow.\n"
    (tmp_path / "index.md").write_text(words)
    evidence.run({"question": "toy", "models": {"digits8": 8}}, str(tmp_path))
    text = (tmp_path / "index.md").read_text()
    assert text.startswith("Above.")
    assert text.endswith("Below.\n")
    assert "stale" not in text


def test_other_settings_are_refused(toy, tmp_path):
    values = {"question": "toy", "models": {"digits8": 8}}
    evidence.run(values, str(tmp_path))
    with pytest.raises(ValueError, match=r"other settings \(seed was 0, is 1\)"):
        evidence.run(values | {"seed": 1}, str(tmp_path))
    with pytest.raises(ValueError, match=r"other settings \(models.digits8 was 8, is 9\)"):
        evidence.run(values | {"models": {"digits8": 9}}, str(tmp_path))
    assert len(toy) == 1


def test_another_model_joins_those_measured(toy, tmp_path):
    values = {"question": "toy", "models": {"digits8": 8}}
    evidence.run(values, str(tmp_path))
    evidence.run(values | {"models": {"spiral2d": 9, "digits8": 8}}, str(tmp_path))
    assert toy == ["digits8", "spiral2d"]
    assert "| spiral2d | 36 |" in (tmp_path / "toy.md").read_text()
    with pytest.raises(ValueError, match=r"models.spiral2d was 9, is None"):
        evidence.run(values, str(tmp_path))


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "evidence").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_questions_can_be_put(path):
    values = settings.read(path)
    name, each = evidence.check(values)
    assert name == path.stem
    assert f"python -m studies evidence configs/evidence/{path.name}" in path.read_text()
    asked = each[0].settings.models
    assert set(asked) <= set(subjects.names())
    _, (small,) = evidence.check(values, small=True)
    assert set(small.settings.models) < set(asked), "less of the same"


def test_verdicts_of_other_seeds(toy, tmp_path):
    values = {"question": "toy", "again": [3], "models": {"digits8": 8}}
    found = evidence.run(values, str(tmp_path))
    assert toy == ["digits8", "digits8"]
    assert (tmp_path / "data" / "toy-digits8-seed3.csv").is_file()
    assert found["claims"][0]["verdict"] == "holds (1 of 1)"
    assert "Put again" in (tmp_path / "toy.md").read_text()


def test_a_dear_model_keeps_its_rows_under_another_seed(toy, tmp_path):
    models = {"digits8": 8, "spiral2d": 9}
    values = {"question": "toy", "models": models, "again": [3], "once": ["spiral2d", "tiles32"]}
    evidence.run(values, str(tmp_path))
    assert toy == ["digits8", "spiral2d", "digits8"]
    assert "| seed 3, but for spiral2d |" in (tmp_path / "toy.md").read_text()
    assert not (tmp_path / "data" / "toy-spiral2d-seed3.csv").exists()


def test_models_that_have_no_rows_are_named():
    record = {"settings": {"models": {"digits8": 8, "spiral2d": 8, "emoji32": 8}}}
    parts = {"digits8": {}, "digits8-again": {}, "spiral2d-seed1": {}}
    assert pages._missing(record | {"parts": parts}) == " Not measured yet: emoji32."
    assert pages._missing(record | {"parts": parts | {"emoji32": {}}}) == ""


def test_verdicts_of_another_training(toy, tmp_path, monkeypatch):
    """The retrained model is measured, with its own counts; the others are those of before."""
    monkeypatch.setattr(config.subjects, "retrained", lambda: ("digits8", "fashion28"))
    models = {"digits8": 8, "spiral2d": 9}
    values = {"question": "toy", "models": models, "retrained": ["digits8", "fashion28"]}
    evidence.run(values, str(tmp_path))
    assert toy == ["digits8", "spiral2d", "digits8-again"]
    assert (tmp_path / "data/toy-digits8-again.csv").read_text().count("\n") == 9
    page = (tmp_path / "toy.md").read_text()
    assert "| digits8 trained again | [28.0, 36.0] |" in page
    assert "[digits8 trained again](data/toy-digits8-again.csv) (8 samples" in page


def test_a_claim_on_which_seeds_disagree_is_undecided():
    def reading(*verdicts):
        return Reading([], [Claim(str(n), "", "", text) for n, text in enumerate(verdicts)])

    one = reading("holds (2 of 2)", "holds (2 of 2)", "holds with limits (1 of 2)")
    two = reading("holds (2 of 2)", "does not hold here (0 of 2)", "holds with limits (2 of 3)")
    found = [claim.verdict for claim in agreed([one, two], ["seed 0", "seed 7"]).claims]
    assert found == [
        "holds (2 of 2)",
        "undecided (seed 0: holds (2 of 2); seed 7: does not hold here (0 of 2))",
        "seed 0: holds with limits (1 of 2); seed 7: holds with limits (2 of 3)",
    ]
    assert agreed([one], ["seed 0"]) is one


def test_every_question_is_shipped():
    assert {path.stem for path in CONFIGS} == set(questions.QUESTIONS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"question": "detial"}, "try detail"),
        ({}, "got None: try dial, "),
        ({"question": "toy"}, "expected a table models"),
        ({"question": "toy", "models": {"digit8": 8}}, "did you mean 'digits8'"),
        (
            {"question": "toy", "models": {"digits8": 3}},
            "a count of 8 to 1000000, got 3",
        ),
        ({"question": "toy", "models": {"digits8": 8}, "again": [0]}, "other seeds than 0"),
        ({"question": "toy", "models": {"digits8": 8}, "again": [-1]}, "a count of 0"),
        ({"question": "toy", "models": {"digits8": 8}, "again": 1}, r"e\.g\. again = \[1\]"),
        (
            {"question": "toy", "models": {"digits8": 8}, "retrained": ["emoji32"]},
            "known are digits8",
        ),
        ({"question": "toy", "models": {"digits8": 8}, "once": ["digit8"]}, "to list models"),
        ({"question": "toy", "models": {"digits8": 8}, "once": "digits8"}, "to list models"),
        ({"question": "toy", "models": {"digits8": 8}, "once": ["digits8"]}, "leave a model"),
        ({"question": "toy", "models": {"digits8": 8}, "sed": 1}, "did you mean 'seed'"),
        ({"question": "toy", "models": {"digits8": 8}, "seed": -1}, "expected seed a count of 0"),
        ({"question": "toy", "models": {"digits8": 8}, "values": []}, "expected some values"),
        ({"question": "toy", "models": {"digits8": 8}, "values": [2.0]}, "between 0 and 1, got 2"),
    ],
)
def test_bad_settings(toy, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        evidence.run(values, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
