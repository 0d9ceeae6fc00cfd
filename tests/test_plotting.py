"""Figures are tested for what they draw, not for pixels."""

import io

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

import densityguide as dg
from densityguide import plotting
from densityguide.verify.alignment_report import wilson_interval

RNG = np.random.default_rng(0)


def drawn(figure):
    """Its PNG, which also lays it out."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer)


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_images_stand_over_their_log_density():
    rows = RNG.integers(0, 17, (2, 3, 8, 8, 1))
    log_p = np.array([[1.0, -2.0, 3.0], [4.0, np.nan, 6000.0]])
    figure = plotting.images(rows, log_p, labels=("a", "b"), levels=17)
    axis = figure.axes[0]
    assert len(axis.images) == len(axis.lines) == 6
    for image, tile in zip(axis.images, rows.reshape(6, 8, 8, 1), strict=True):
        np.testing.assert_allclose(image.get_array(), np.repeat(tile / 16.0, 3, axis=-1))
    assert texts(axis) == ["1", "-2", "3", "4", "failed", "6,000", "a", "b"]
    for image, caption in zip(axis.images, axis.texts, strict=False):
        left, right, bottom, _ = image.get_extent()
        x, y = caption.get_position()
        assert left < x < right
        assert bottom - 0.3 < y < bottom


def test_log_density_paths_are_drawn_twice_and_the_band_is_at_the_target():
    times, natural = np.linspace(-9.0, 8.0, 6), RNG.normal(size=(4, 6))
    guided = RNG.normal(size=(2, 6))
    figure = plotting.log_density_paths(times, natural, guided, target=7.0, tolerance=0.5)
    both, relative = figure.axes
    lines = np.stack([line.get_ydata() for line in both.lines[:6]])
    np.testing.assert_allclose(lines, np.concatenate([natural, guided]))
    lines = np.stack([line.get_ydata() for line in relative.lines[:6]])
    np.testing.assert_allclose(lines, np.concatenate([natural, guided]) - natural.mean(axis=0))
    for axis, shift in ((both, 0.0), (relative, natural[:, -1].mean())):
        np.testing.assert_allclose(axis.lines[6].get_ydata(), 7.0 - shift)
        band = axis.collections[0].get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([band.min(), band.max()], [6.5 - shift, 7.5 - shift])


def test_convergence_draws_every_curve():
    curves = {"one": ([8, 16], [0.5, 0.1]), "two": ([8, 32], [0.2, 1e-3])}
    axis = plotting.convergence(curves, emphasis=["two"]).axes[0]
    for line, (name, values) in zip(axis.lines, curves.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_allclose(line.get_xydata().T, values)
    assert len({(line.get_marker(), line.get_linestyle()) for line in axis.lines}) == 2
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["8", "16", "32"]


def test_intervals_are_drawn_where_they_are():
    ends = np.array([[1.0, 0.5, 2.0], [3.0, 2.5, 3.25]])
    both = {"one": ([0.0, 1.0], ends), "two": ([0.0, 1.0], ends + 1.0)}
    figure = plotting.intervals({"a": both, "b": both, "c": both}, xlabel="x", ylabel="y")
    *panels, spare = figure.axes
    assert [axis.get_title(loc="left") for axis in panels] == ["a", "b", "c"]
    assert not spare.get_visible()
    (line, _, (bars,)), _ = panels[0].containers
    np.testing.assert_array_equal(line.get_ydata(), ends[:, 0])
    np.testing.assert_array_equal([bar[:, 1] for bar in bars.get_segments()], ends[:, 1:])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]


def test_intervals_have_words_along_x_and_plain_numbers_on_a_logarithmic_axis():
    panel = {"a": {"one": ([0.0, 1.0], [[0.3, 0.2, 0.5], [0.9, 0.7, 1.2]])}}
    figure = plotting.intervals(panel, xlabel="", ylabel="", log=True, ticks=("low", "high"))
    figure.canvas.draw()
    (axis,) = figure.axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["low", "high"]
    written = {tick.get_text() for tick in axis.get_yticklabels(which="both")}
    assert {"0.2", "0.5", "1"} <= written


def test_spreads_are_boxes_between_quartiles_in_order():
    groups = {"own": np.arange(101.0), "other": np.r_[np.arange(101.0) + 50.0, np.nan]}
    figure = plotting.spreads({"a": groups, "b": groups, "c": groups}, xlabel="log p")
    *panels, spare = figure.axes
    assert not spare.get_visible()
    assert [axis.get_title(loc="left") for axis in panels] == ["a", "b", "c"]
    boxes = [patch.get_path().vertices[:, 0] for patch in panels[0].patches[:2]]
    assert [(box.min(), box.max()) for box in boxes] == [(25.0, 75.0), (75.0, 125.0)]
    assert panels[0].yaxis.get_inverted(), "the first group stands above"
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == ["own", "other"]


def test_what_has_no_x_is_drawn_from_side_to_side():
    panel = {"a": {"one": ([0.0, 1.0], [[1, 0, 2], [3, 2, 4]]), "level": ([0.0], [[5, 4, 7]])}}
    (axis,) = plotting.intervals(panel, xlabel="", ylabel="", flat=("level",)).axes
    (band,) = axis.patches
    assert (band.get_y(), band.get_height()) == (4.0, 3.0)
    assert [line.get_ydata()[0] for line in axis.lines if line.get_label() == "level"] == [5.0]


def test_detail_gives_scipys_rank_correlation_in_every_group():
    log_p = RNG.normal(size=30)
    measures = {"bytes": -log_p + RNG.normal(size=30), "power": RNG.normal(size=30)}
    groups = {"few": np.arange(10), "many": np.arange(30) >= 10}
    figure = plotting.detail(log_p, measures, groups=groups)
    for axis, (name, values) in zip(figure.axes, measures.items(), strict=True):
        found = {name: spearmanr(log_p[w], values[w]).statistic for name, w in groups.items()}
        words = ", ".join(f"{name} {rank:+.2f}" for name, rank in found.items())
        assert axis.get_title(loc="left") == f"rank correlation\n{words}"
        assert axis.get_ylabel() == name
        points = np.concatenate([line.get_xydata() for line in axis.lines])
        np.testing.assert_allclose(points, np.stack([log_p, values], axis=1))
    title = plotting.detail(log_p, measures, groups={"few": np.arange(9)}).axes[0].get_title("left")
    assert f"{spearmanr(log_p[:9], measures['bytes'][:9]).statistic:+.2f}" in title


def test_a_diagonal_is_where_a_measure_is_log_p():
    figure = plotting.detail(np.arange(5.0), {"a": np.arange(5.0) + 1}, diagonal=True, title="b")
    lines = [line for line in figure.axes[0].lines if type(line).__name__ == "AxLine"]
    assert [(line.get_xy1(), line.get_slope()) for line in lines] == [((0.0, 0.0), 1.0)]
    assert figure.get_suptitle() == "b"


def test_spearman_is_scipys():
    for values in (RNG.normal(size=(2, 40)), RNG.integers(0, 5, (2, 40))):
        np.testing.assert_allclose(plotting.spearman(*values), spearmanr(*values).statistic)
    assert np.isnan(plotting.spearman(np.ones(4), np.arange(4)))


def test_high_frequency_power_is_the_variance_above_the_cutoff():
    x = np.arange(32)
    low, high = (np.sin(2.0 * np.pi * f * x) for f in (2 / 32, 12 / 32))
    wave = np.broadcast_to((0.3 * low + 0.1 * high)[:, None, None], (32, 32, 3))
    found = plotting.high_frequency_power(255.0 * (0.5 + wave))
    np.testing.assert_allclose(found, 0.1**2 / 2.0, rtol=1e-12)
    noise = RNG.normal(size=(32, 32, 1))
    everything = plotting.high_frequency_power(noise, levels=2, cutoff=0.0)
    np.testing.assert_allclose(everything, noise.var(), rtol=1e-12)


def test_png_bytes_are_those_of_the_file():
    image = RNG.integers(0, 255, (8, 8, 3), np.uint8)
    assert plotting.png_bytes(image) > plotting.png_bytes(np.zeros_like(image))


def test_alignment_counts_and_says_the_pass_rate():
    cosines = np.array([0.1, 0.2, 0.9, -0.5, np.nan])
    axis = plotting.alignment({"toy": cosines}).axes[0]
    positive = sum(bar.get_height() for bar in axis.patches if bar.get_x() > -1e-9)
    negative = sum(bar.get_height() for bar in axis.patches if bar.get_x() <= -1e-9)
    assert (positive, negative) == (3, 1)
    low, high = wilson_interval(3, 5)
    title = axis.get_title(loc="left")
    assert title == f"toy: 3 of 5 above 0 ({low:.1%} .. {high:.1%}), 1 failed"


def test_plane_shows_the_density_where_it_is_and_the_paths_on_it():
    world = dg.worlds.mixture([1.0], [[1.0, -0.5]], [[0.3, 0.3]])
    extent = (-2.0, 2.0, -1.5, 1.5)
    points = plotting.mesh(extent, 41)
    log_p = jax.vmap(jax.vmap(lambda x: world.log_density(x, 8.0)))(points)
    lines, dots = RNG.normal(size=(2, 5, 2)), RNG.normal(size=(7, 2))
    figure = plotting.plane(log_p, extent, paths={"guided": lines}, points={"data": dots})
    axis = figure.axes[0]
    peak = points[np.unravel_index(np.argmax(log_p), log_p.shape)]
    np.testing.assert_allclose(peak, [1.0, -0.5], atol=0.1)
    top = axis.collections[0].get_paths()[-1]  # the highest band of the contours
    np.testing.assert_allclose(top.vertices.mean(axis=0), [1.0, -0.5], atol=0.1)
    for line, path in zip(axis.lines[:2], lines, strict=True):
        np.testing.assert_allclose(line.get_xydata(), path)
    starts, ends, scattered = axis.lines[2:]
    np.testing.assert_allclose(starts.get_xydata(), lines[:, 0])
    np.testing.assert_allclose(ends.get_xydata(), lines[:, -1])
    np.testing.assert_allclose(scattered.get_xydata(), dots)


def test_figures_render_and_pyplot_keeps_none():
    import matplotlib.pyplot as pyplot

    before = pyplot.get_fignums()
    figure = plotting.convergence({"one": ([8, 16], [0.5, 0.1])})
    page = np.asarray(drawn(figure).convert("L"))
    assert page.std() > 1.0
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.images(np.zeros((2, 8, 8, 1))), "rows, columns, height"),
        (lambda: plotting.images(np.zeros((1, 2, 8, 8, 1)), np.zeros(2)), "one for each image"),
        (lambda: plotting.images(np.zeros((1, 2, 8, 8, 1)), labels="ab"), "one for each row"),
        (lambda: plotting.log_density_paths(np.zeros(3), np.zeros(2), np.zeros(3)), "3 knots"),
        (lambda: plotting.convergence({}), "at least one curve"),
        (lambda: plotting.intervals({}, xlabel="", ylabel=""), "at least one panel"),
        (
            lambda: plotting.intervals({"a": {"b": ([1], [[1, 2]])}}, xlabel="", ylabel=""),
            r"intervals \[n, 3\]",
        ),
        (lambda: plotting.spreads({}, xlabel=""), "at least one panel"),
        (lambda: plotting.spreads({"a": {"b": [np.nan]}}, xlabel=""), "one finite value, got none"),
        (lambda: plotting.convergence({"a": ([1], [1])}, emphasis=["b"]), "must name curves"),
        (lambda: plotting.convergence({"a": ([1, 2], [1])}), "as many errors as evaluations"),
        (lambda: plotting.detail(np.zeros((2, 2)), {"a": [1]}), "log_density"),
        (lambda: plotting.detail(np.zeros(2), {}), "at least one measure"),
        (lambda: plotting.detail(np.zeros(2), {"a": [1]}), "one for each log p"),
        (lambda: plotting.alignment({}), "at least one set"),
        (lambda: plotting.alignment({"a": []}), "at least one latent"),
        (lambda: plotting.plane(np.zeros(3), (0, 1, 0, 1)), "rows, columns"),
        (
            lambda: plotting.plane(np.eye(2), (0, 1, 0, 1), paths={"a": np.eye(2)}),
            r"a must be \[m, n, 2\]",
        ),
    ],
)
def test_wrong_shapes_end_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_without_matplotlib_figures_say_so_and_pages_work(hide):
    hide("matplotlib")
    with pytest.raises(ValueError, match="plots") as caught:
        plotting.images(np.zeros((1, 1, 8, 8, 1)))
    assert "\n" not in str(caught.value)
    label = plotting.Label("q = 0.5", ("3.1",), 0.5)
    words = {"title": "a", "subtitle": "b", "note": "c"}
    page = plotting.image_grid([np.zeros((2, 8, 8, 1), np.uint8)], [label], 17, **words)
    assert page.size[0] >= 640
