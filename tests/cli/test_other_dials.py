"""``densityguide sample`` by other dials than q: targets, budgets, and landing."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

from densityguide.app import dial, source
from densityguide.app.dial import Dial

QUICK = ("sample", "--model", "world:mixture", "--count", "4", "--steps", "96")


@pytest.mark.slow
def test_landing_ends_on_the_target_by_the_models_own_log_p(run, tmp_path):
    outcome = run(*QUICK, "--target", "-16,-20nats", "--land", "--json")
    assert outcome.status == 0
    report = json.loads(outcome.out)
    assert [row["target_nats"] for row in report["rows"]] == [-16.0, -20.0]
    arrays = np.load(tmp_path / "samples" / "samples.npz")
    flow = source.load("world:mixture").flow
    tolerance = 2e-4 * flow.size * np.log(2.0) + arrays["total_error"]
    found = arrays["status"] & 16 == 0
    assert found.mean() >= 0.5
    assert (abs(arrays["log_density"] - arrays["target_nats"][:, None]) <= tolerance)[found].all()
    assert arrays["parameter"].shape == (2, 4)
    assert "tracked" not in arrays


@pytest.mark.slow
def test_a_budget_of_nothing_is_the_plain_flow(run, tmp_path):
    assert run(*QUICK, "--budget", "0,6").status == 0
    spent = np.load(tmp_path / "samples" / "samples.npz")
    assert run(*QUICK, "--q", "0.5").status == 0
    plain = np.load(tmp_path / "samples" / "samples.npz")
    np.testing.assert_allclose(spent["x"][0], plain["x"][0], atol=1e-5)
    assert (spent["log_density"][1] > spent["log_density"][0]).all()
    np.testing.assert_array_equal(spent["budget_nats"], [0.0, 6.0])


def test_bits_per_dim_are_those_of_the_report():
    flow = source.load("digits8").flow
    (nats,) = dial.parse(target=["2.5bpd"]).asked(flow)
    np.testing.assert_allclose(flow.transform.bits_per_dim(nats, flow.size), 2.5, rtol=1e-6)
    (more,) = dial.parse(budget=["-0.5bpd"]).asked(flow)
    np.testing.assert_allclose(more, -0.5 * flow.size * np.log(2.0))


def test_titles_say_what_was_asked():
    assert Dial("q", (0.5,), (False,)).label({"q": 0.5}) == "q = 0.5, the plain model"
    assert Dial("target", (70.0,), (False,), True).label({"target_nats": 70.0}) == (
        "landed on 70 nats"
    )
    assert Dial("budget", (-5.0,), (False,)).label({"budget_nats": -5.0}) == "budget -5 nats"


def test_frames_are_even_on_the_scale_of_the_request():
    flow = source.load("world:mixture").flow
    values = dial.parse(q=["0.98,0.02"], frames=9).asked(flow)
    assert (values[0], values[4], values[8]) == (0.02, 0.5, 0.98)
    np.testing.assert_allclose(np.diff(norm.ppf(values), 2), 0.0, atol=1e-9)
    values = dial.parse(budget=["3,-1bpd"], frames=5).asked(flow)
    low = -flow.size * np.log(2.0)
    np.testing.assert_allclose(values, np.linspace(low, 3.0, 5))
    near = dial.parse(q=["0.000001,0.9999998"], frames=50).asked(flow)
    assert all(0.0 < np.float32(q) < 1.0 for q in near)
    assert (np.diff(near) > 0.0).all()


@pytest.mark.parametrize(
    ("q", "text"), [(0.5, "0.5"), (0.3, "0.3"), (0.0617421, "0.0617"), (0.9382578, "0.9383")]
)
def test_quantiles_are_written_short(q, text):
    assert dial.short(q) == text


def test_the_options_of_a_dial_ask_for_it_again():
    dials = [
        dial.parse(q=["0.3,0.1"], frames=4),
        dial.parse(target=["2.5bpd,-30"], land=True),
        dial.parse(budget=["-1e-3"]),
    ]
    for one in dials:
        _, values, *more = words = one.words().split()
        frames = int(words[-1]) if "--frames" in more else None
        again = dial.parse(**{one.kind: [values]}, land="--land" in more, frames=frames)
        assert again == one


@pytest.mark.slow
def test_frames_draw_few_columns_and_keep_all(run, tmp_path):
    quick = ("sample", "--model", "digits8", "--count", "2", "--steps", "4", "--out", "all")
    assert run(*quick, "--q", "0.6,0.4", "--frames", "9").status == 0
    arrays = np.load(tmp_path / "all" / "samples.npz")
    assert arrays["images"].shape[:2] == (9, 2)
    assert (arrays["q"][0], arrays["q"][4], arrays["q"][8]) == (0.4, 0.5, 0.6)
    page = (tmp_path / "all" / "dial.html").read_text("utf-8")
    assert 'max="8"' in page
    assert page.count("<canvas") == 2
    few = Image.open(tmp_path / "all" / "grid.png").width
    assert run(*quick, "--q", "0.4,0.42,0.45,0.5,0.55,0.6").status == 0
    six = Image.open(tmp_path / "all" / "grid.png").width
    assert run(*quick, "--q", "0.4,0.5,0.6", "--frames", "7").status == 0
    assert few == Image.open(tmp_path / "all" / "grid.png").width > six


@pytest.mark.slow
def test_the_page_of_the_dial_runs_from_detail_to_smooth(run, tmp_path):
    quick = ("sample", "--model", "digits8", "--count", "2", "--steps", "4")
    assert run(*quick, "--budget", "9,-9,0").status == 0
    page = (tmp_path / "samples" / "dial.html").read_text("utf-8")
    places = json.loads(page.partition('id="data">')[2].partition("</script>")[0])["places"]
    asked = ["budget -9 nats", "budget +0 nats", "budget +9 nats"]
    assert [place["label"] for place in places] == asked
    assert ", the plain model," in places[1]["spoken"]
    report = json.loads((tmp_path / "samples" / "report.json").read_text())
    for place, row in zip(places, [report["rows"][n] for n in (1, 2, 0)], strict=True):
        assert f"{row['bits_per_dim']:.2f} bits/dim" in place["mean"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frames", "1"), "--frames must lie in 2 .. 1000, got 1"),
        (("--q", "0.4", "--frames", "5"), "got one value: give two, separated by a comma"),
        (("--q", "0.5", "--target", "3"), "--q and --target exclude each other"),
        (("--land",), "--land needs a log p to land on"),
        (("--budget", "3", "--land"), "--land needs a log p to land on"),
        (("--target", "much"), "--target takes numbers of nats"),
        (("--target", "nan"), "--target takes numbers of nats"),
        (("--target", "1e400"), "--target takes numbers of nats"),
        (("--budget", "3,,4"), "--budget takes numbers of nats"),
        (("--target", "2.5bpd"), "--target in bpd needs a model of integer data"),
    ],
)
def test_misuse_is_one_line(run, options, message, tmp_path):
    outcome = run(*QUICK, *options)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "samples").exists()


def test_the_usual_dial_is_as_wide_as_log_p_rises():
    small, large = (source.load(name).flow for name in ("digits8", "tiles32"))
    for flow, values in ((small, dial.FEW), (large, dial.WIDE)):
        bare = flow.replace(calibration=None)
        assert dial.parse().fitted(bare).values == values
        told = [flow.calibration._replace(dial=np.asarray(ends)) for ends in ((0.05, 0.65), (0, 1))]
        near, far = (dial.usual(flow.replace(calibration=one)) for one in told)
        assert (near[-1], far) == (0.65, values)
        assert near[0] == max(values[0], 0.05)
        assert set(near[1:-1]) <= set(values)
    assert dial.parse(["0.4"]).fitted(large).values == (0.4,)
    frames = dial.parse(frames=5).fitted(large).asked(large)
    assert len(frames) == 5
