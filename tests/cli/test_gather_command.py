"""``densityguide gather``: a page, a sheet and one file of what a job left."""

import dataclasses
import json
import re
from pathlib import Path

import finished
import numpy as np
import pytest
from PIL import Image

from densityguide import plotting
from densityguide.app.commands import gather_page, gathered
from densityguide.app.jobs.config import Alignment, Output
from densityguide.plotting import histograms
from densityguide.plotting.results import Pictures, Spread, Table
from densityguide.solve import Status

FOUND = finished.stored(18)
FOUND["status"][:3] = int(Status.UNMET)
FOUND["status"][4] = int(Status.NON_FINITE)
FOUND["log_density"][4] = np.nan


def text(path) -> str:
    return Path(path).read_text("utf-8")


def bars(html: str) -> list[int]:
    """What the histograms of a page count."""
    return [int(n.replace(",", "")) for n in re.findall(r"<title>[^<]*: ([\d,]+)</title></r", html)]


def test_the_page_tells_what_there_is(run, tmp_path):
    finished.write(tmp_path / "job", finished.sampling(), FOUND)
    done = run("gather", "job", "--merge", "npz")
    assert done.status == 0, done.err
    assert "18 of 18 rows:" in done.out
    assert sorted(path.name for path in (tmp_path / "gathered").iterdir()) == [
        "merged.npz",
        "report.json",
        "summary.html",
    ]
    with np.load(tmp_path / "gathered" / "merged.npz") as merged:
        np.testing.assert_array_equal(merged["x"], FOUND["x"])
    html = text("gathered/summary.html")
    assert sum(bars(html)) == 17  # one failed
    assert len(re.findall('class="histogram"', html)) == 2
    for words in ("q 0.4", "q 0.6", "UNMET", "NON_FINITE", "Failed", "Error bars", "Costs"):
        assert words in html
    assert f"{FOUND['evaluations'].sum():,}" in html
    assert not re.search(r'(src|href)="(?!data:)', html)  # it asks nothing of any other place
    assert "prefers-color-scheme: dark" in html


@pytest.mark.slow
def test_again_gives_the_same_bytes(run, tmp_path):
    finished.write(tmp_path / "job", finished.sampling(), FOUND)
    for _ in range(2):
        assert run("gather", "job", "--out", "one").status == 0
    run("gather", "job", "--out", "two")
    for name in ("summary.html", "report.json"):
        assert text(f"one/{name}") == text(f"two/{name}")


def test_a_part_is_shown_as_one(run, tmp_path):
    finished.write(tmp_path / "job", finished.sampling(), FOUND, until=2)
    assert "is unfinished (2 of 5 shards)" in run("gather", "job").line
    done = run("gather", "job", "--partial", "--json")
    report = json.loads(done.out)
    assert (report["rows"], report["of"], report["missing_shards"]) == (8, 18, [2, 3, 4])
    assert "8 of 18 rows in 2 shards, 3 shards not there" in text("gathered/summary.html")


@pytest.mark.slow
@pytest.mark.parametrize("values", [(0.4, 0.6), ()], ids=["sweep", "plain"])
def test_pictures_become_a_sheet(run, tmp_path, values):
    found = FOUND | {"images": np.random.default_rng(0).integers(0, 17, (18, 8, 8, 1), np.uint8)}
    job = finished.sampling("digits8", 9 if values else 18, values, images=True)
    finished.write(tmp_path / "job", job, found)
    assert run("gather", "job").status == 0
    rows = 2 if values else 3
    assert Image.open(tmp_path / "gathered" / "sheet.png").height > rows * 160
    shown = 16 if values else 17  # the failed one has no place in an order of log p
    assert text("gathered/summary.html").count("<figcaption>") == shown


def test_pictures_of_a_sweep_are_of_the_same_latents(tmp_path):
    from densityguide.app import jobs

    found = FOUND | {"images": np.zeros((18, 8, 8, 1), np.uint8)}
    job = finished.sampling("digits8", images=True)
    place = finished.write(tmp_path / "job", job, found, until=4)  # the second value lacks two
    part = jobs.open(place, partial=True)
    few = gathered.pictures(part, gathered.known(part)[0], gathered.numbers(part))
    assert [part.sample[row.rows].tolist() for row in few] == [[*range(7)]] * 2


@pytest.mark.slow
def test_alignment_has_a_rate(run, tmp_path):
    values = {"value": np.linspace(-1.0, 3.0, 18), "cosine": np.ones(18)}
    few = {name: FOUND[name] for name in ("status", "evaluations")}
    finished.write(
        tmp_path / "job", Alignment("world:gaussian", 18, output=Output(4, 2)), values | few
    )
    assert run("gather", "job").status == 0
    html = text("gathered/summary.html")
    assert "Aligned" in html
    assert f"{np.mean(values['value'] > 0):.1%}" in html
    assert sum(bars(html)) == 18


def test_a_model_that_is_not_here_is_said_to_be(run, tmp_path):
    job = dataclasses.replace(finished.sampling(), model="gone")
    finished.write(tmp_path / "job", job, FOUND)
    done = run("gather", "job")
    assert done.status == 0
    assert "Without pictures and bits/dim: unknown model" in done.out


def test_refusals(run, tmp_path):
    assert "holds no results" in run("gather", "job").line
    finished.write(tmp_path / "job", finished.sampling(), FOUND)
    assert "--merge npz or zarr, got 'csv'" in run("gather", "job", "--merge", "csv").line
    assert "is the job's own folder" in run("gather", "job", "--out", "job").line
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    assert "holds files that" in run("gather", "job", "--out", "mine").line
    damaged = tmp_path / "job" / "shards" / "000002.npz"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    assert "000002.npz is missing or damaged" in run("gather", "job").line
    assert not (tmp_path / "gathered").exists()


def test_every_status_has_its_words():
    assert set(gathered.MEANINGS) == {flag for flag in Status if flag}


def test_words_are_no_markup():
    page = plotting.results(
        "<b>",
        "&",
        [],
        [Spread("<i>", np.ones(3), ("<u>",))],
        "nats",
        tables=[Table("<s>", ["<q>"], [["<p>"]])],
        settings="<script>",
    )
    for tag in ("<b>", "<i>", "<u>", "<s>", "<q>", "<script>"):
        assert tag not in page.html


def test_pictures_come_with_captions():
    row = Pictures("", np.zeros((2, 4, 4, 3), np.uint8), ["one"])
    with pytest.raises(ValueError, match=r"n captions, got \(2, 4, 4, 3\) with 1"):
        plotting.results("", "", [], [], "nats", pictures=[row])


@pytest.mark.parametrize("middle", [0.0, -3.1e5, 7e-9])
@pytest.mark.parametrize("size", [1e-6, 1.0, 4e4])
def test_every_value_has_a_bar(middle, size):
    values = middle + size * np.random.default_rng(1).normal(size=500)
    spread = Spread("all", values, mean=float(values.mean()), error=size)
    over = histograms.scale([spread])
    drawn, outside = histograms.svg(spread, over)
    assert (sum(bars(drawn)), outside) == (500, 0)
    assert 3 <= len(over.ticks) <= 8
    assert all(over.low <= tick <= over.high for tick in over.ticks)


def test_far_ends_leave_room_for_the_rest():
    values = np.append(np.random.default_rng(1).normal(size=998), [1e6, np.nan])
    spread = Spread("all", values)
    over = histograms.scale([spread])
    drawn, outside = histograms.svg(spread, over)
    assert over.high < 10.0
    assert outside >= 1
    assert sum(bars(drawn)) + outside == 999


def test_nothing_finite_is_an_empty_histogram():
    spread = Spread("all", np.full(3, np.nan))
    assert histograms.svg(spread, histograms.scale([spread]))[1] == 0
    assert bars(histograms.svg(Spread("one", np.ones(1)), histograms.scale([spread]))[0]) == [1]


@pytest.mark.parametrize(
    ("value", "text"), [(0.123, "0.12"), (31.4, "31"), (np.nan, "-"), (0.0, "0")]
)
def test_two_digits_that_count(value, text):
    assert gather_page._short(value) == text
