"""A question from settings to pages: what is measured once is kept, and nothing is mixed up."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import densityguide as dg
from densityguide.disk import settings
from studies import evidence
from studies.evidence import questions
from studies.evidence.study import Claim, Question, Reading, Section, verdict


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
    assert len(toy) == 1


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "evidence").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_questions_can_be_put(path):
    values = settings.read(path)
    name, chosen = evidence.check(values)
    assert name == path.stem
    assert f"python -m studies evidence configs/evidence/{path.name}" in path.read_text()
    assert set(chosen.models) <= set(dg.models.names())


def test_every_question_is_shipped():
    assert {path.stem for path in CONFIGS} == set(questions.QUESTIONS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"question": "detial"}, "try detail"),
        ({}, "got None: try detail, "),
        ({"question": "toy"}, "expected a table models"),
        ({"question": "toy", "models": {"digit8": 8}}, "did you mean 'digits8'"),
        (
            {"question": "toy", "models": {"digits8": 3}},
            "a count of 8 to 1000000, got 3",
        ),
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
