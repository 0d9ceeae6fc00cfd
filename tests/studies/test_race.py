"""The race in miniature: its tables, and that all answers mean the same log p."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from studies import __main__ as studies  # noqa: E402
from studies.peers import measure  # noqa: E402
from studies.peers.entrant import lines_of, words  # noqa: E402
from studies.peers.entrants import ENTRANTS  # noqa: E402


def test_the_quickest_that_reaches_a_level_is_chosen():
    ours = ENTRANTS[0]
    rows = [
        {"entrant": ours.name, "setting": name, "bits": bits, "seconds": seconds, "times": []}
        for name, bits, seconds in (("a", 0.2, 1.0), ("b", 0.05, 3.0), ("c", 0.005, 2.0))
    ]
    rows.append({**rows[0], "setting": "d", "bits": None})
    best = measure.chosen(rows, ours)
    assert {level: row["setting"] for level, row in best.items()} == {0.1: "c", 0.01: "c"}


def test_lines_are_those_of_code():
    def short(x):
        """Not
        counted."""

        # nor this
        return words(
            x,
        )

    assert lines_of(short) == 4


@pytest.mark.slow
def test_the_race_in_miniature(tmp_path, capsys):
    """Everybody's finest setting agrees with the truth, and a second call measures nothing anew."""
    command = ["peers", "moons", "--small", "--out", str(tmp_path)]
    assert studies.main(command) == 0
    kept = json.loads((tmp_path / "peers.json").read_text())
    rows = kept["subjects"]["moons"]["rows"]
    assert len({row["entrant"] for row in rows}) >= 4
    for name in {row["entrant"] for row in rows}:
        assert min(row["bits"] for row in rows if row["entrant"] == name) < 0.02
    ours = [row for row in rows if row["entrant"] == "densityguide"]
    assert min(row["bits"] for row in ours) < 1e-4
    assert studies.main(command) == 0
    assert json.loads((tmp_path / "peers.json").read_text())["subjects"]["moons"]["rows"] == rows
    assert "densityguide" in capsys.readouterr().out
    assert studies.main(["peers", "nobody"]) == 2


@pytest.mark.slow
def test_weights_are_carried_exactly(tmp_path):
    from studies.peers import subjects

    subject = subjects.load("digits8", tmp_path, small=True)
    assert subjects.forward_gap(subject) < 1e-5
    assert np.abs(subject.probe).min() == 1.0
