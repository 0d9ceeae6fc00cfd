"""``densityguide cost``: the counts of ``densityguide sample`` with the same options."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("unoptimised")

OPTIONS = ("--model", "world:mixture", "--count", "9", "--q", "0.4,0.5", "--steps", "6")


@pytest.mark.slow
def test_counts_are_those_of_sample(run):
    cost = json.loads(run("cost", *OPTIONS, "--json").out)
    report = json.loads(run("sample", *OPTIONS, "--json").out)
    row = report["rows"][0]
    assert cost["evaluations_per_sample"] == row["evaluations"]
    assert cost["tangents_per_sample"] == row["tangents"]
    assert cost["samples"] == 2 * 16  # two q, two blocks of eight
    assert cost["flops"] > 0
    assert cost["run_seconds"] > 0


def test_table_and_refusals(run, tmp_path):
    outcome = run("cost", *OPTIONS)
    assert outcome.status == 0
    for word in ("each sample", "evaluations", "tangents", "FLOP", "Memory", "Seconds"):
        assert word in outcome.out
    assert list(tmp_path.iterdir()) == []  # it writes nothing
    assert "strictly between" in run("cost", "--q", "1.5").line
