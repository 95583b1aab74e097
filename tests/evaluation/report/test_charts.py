"""Claims about the figures of the report: what they show, and that no label lies on another one."""

import html

import numpy as np
import pytest
from made_predictions import make_calibration, make_classes, make_coverage, make_predictions
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.evaluation.misclassifications import count_predictions
from mg_vtc.evaluation.report.charts import (
    draw_classes,
    draw_confusion,
    draw_coverage,
    draw_map,
    draw_reliability,
    short,
)
from mg_vtc.evaluation.report.embedding_map import map_embeddings
from mg_vtc.evaluation.report.palette import RIGHT, WRONG, drawing, to_svg

MANY_NAMES = [f"{name}, variant {number}" for number in range(5) for name in IMIGUE_CLASS_NAMES][:150]
NAMES = {2: IMIGUE_CLASS_NAMES[13:15], 32: IMIGUE_CLASS_NAMES, 150: MANY_NAMES}


def written(figure):
    """Texts of a figure that are seen, and their boxes: left, bottom, right, top in pixels, (num_texts, 4)."""
    svg = to_svg(figure, "one", "a figure")  # without the ticks that lie beyond the axes
    figure.canvas.draw()
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    texts = [text for text in texts if f">{html.escape(text.get_text(), quote=False)}</text>" in svg]
    return texts, np.array([text.get_window_extent().extents for text in texts])


@drawing()
def check_apart(figure):
    """No text lies on another one, and none is cut by the edge of the figure."""
    texts, boxes = written(figure)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= figure.get_size_inches() * 72).all()
    overlap = np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])
    hidden = np.argwhere(np.triu((overlap > 0.5).all(axis=-1), k=1))
    assert not [(texts[one].get_text(), texts[other].get_text()) for one, other in hidden]


@pytest.fixture(params=NAMES, ids=lambda number: f"{number} classes")
def predictions(request):
    return make_predictions(300, NAMES[request.param], num_absent=request.param // 10)


def test_labels_of_the_confusion_matrix_lie_apart(predictions):
    check_apart(draw_confusion(count_predictions(predictions), predictions.class_names))


def test_labels_of_the_bars_lie_apart(predictions):
    classes = make_classes(predictions)
    check_apart(draw_classes(classes[-12:], most_support=16_506))


def test_labels_of_the_map_lie_apart(predictions):
    rng = np.random.default_rng(0)
    texts = 0.5 + 0.1 * rng.normal(size=(len(predictions.class_names), 2)).clip(-3, 3)  # crowded
    right = predictions.logits.argmax(axis=1) == predictions.labels
    check_apart(draw_map(rng.random((300, 2)), texts, predictions.labels, right, predictions.class_names))


@pytest.mark.parametrize("num_bins", [5, 10, 15, 40])
def test_counts_of_the_reliability_diagram_lie_apart(num_bins):
    bins = make_calibration(make_predictions(300, IMIGUE_CLASS_NAMES), num_bins)
    check_apart(draw_reliability([one | {"count": 1000 * one["count"]} for one in bins]))


@pytest.mark.parametrize("mark", [0.2, 0.6, 0.7, 0.99])
def test_texts_of_the_coverage_lie_apart(mark):
    points = make_coverage(make_predictions(300, IMIGUE_CLASS_NAMES))
    check_apart(draw_coverage(points, {"value": 0.5, "coverage": mark, "precision": mark}))


def test_names_of_any_script_are_drawn_as_they_are():
    names = ["$x_1$ & <b>", "手を振る", "a" * 300]
    figure = draw_confusion(np.eye(3, dtype=int), names)
    check_apart(figure)
    svg = to_svg(figure, "one", "a matrix")
    assert ">$x_1$ &amp; &lt;b&gt;\u20021</text>" in svg
    assert ">手を振る\u20022</text>" in svg


def test_short_names_are_one_line_and_stay_what_they_are_where_they_fit():
    assert [short(name) for name in IMIGUE_CLASS_NAMES] == list(IMIGUE_CLASS_NAMES)
    assert short("Head\n up ") == "Head up"
    assert short("b" * 60) == "b" * 25 + "…" + "b" * 26
    assert short("手" * 60) == "手" * 12 + "…" + "手" * 13


def test_long_names_that_begin_alike_stay_apart():
    begin = "Touching or covering with one or with both of the hands the "
    left, right = short(f"{begin}left ear"), short(f"{begin}right ear")
    assert left != right
    assert left.startswith("Touching or")
    assert left.endswith("left ear")
    assert len(left) == len(right) == 52


def test_matrix_shows_shares_of_rows_and_colours_the_diagonal():
    figure = draw_confusion(np.array([[3, 1, 0], [0, 0, 2], [0, 0, 0]]), ["one", "two", "three"])
    (axes,) = figure.axes
    cells = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert cells == {(0.5, 0.53): "75", (1.5, 0.53): "25", (2.5, 1.53): "100"}
    (patches,) = [one for one in axes.collections if isinstance(one, PatchCollection)]
    assert [to_hex(colour) for colour in patches.get_facecolor()] == [RIGHT, WRONG, WRONG]
    alphas = patches.get_facecolor()[:, 3]
    assert alphas[1] < alphas[0] < alphas[2] == 1


def test_bars_are_as_long_as_the_scores():
    classes = [
        {"name": "Head up", "recall": 0.25, "precision": 1.0, "support": 4},
        {"name": "Folding arms", "recall": 0.0, "precision": None, "support": 8},
        {"name": "Rubbing eyes", "recall": None, "precision": None, "support": 0},
    ]
    figure = draw_classes(classes, most_support=16)
    scores, support = figure.axes
    assert [bar.get_width() for bar in scores.patches] == [0.25, 1.0, 0.0]
    assert np.array([bar.get_width() for bar in support.patches]) / 0.55 == pytest.approx([0.25, 0.5, 0.0])
    assert {"never predicted", "no images here"} < {text.get_text() for text in scores.texts}
    assert [text.get_text() for text in support.texts][1:] == ["4", "8", "0"]


def test_reliability_diagram_shows_the_bins_that_hold_images():
    keys = ("low", "high", "confidence", "accuracy", "accuracy_low", "accuracy_high", "count")
    bins = [
        dict(zip(keys, (0.0, 0.5, 0.4, 0.3, 0.1, 0.5, 12), strict=True)),
        dict(zip(keys, (0.5, 0.8, None, None, None, None, 0), strict=True)),
        dict(zip(keys, (0.8, 1.0, 0.95, 1.0, 0.9, 1.0, 1234), strict=True)),
    ]
    main, below = draw_reliability(bins).axes
    assert [(bar.get_x(), round(bar.get_width(), 9)) for bar in below.patches] == [(0.0, 0.5), (0.8, 0.2)]
    (intervals,) = main.collections
    assert [segment.tolist() for segment in intervals.get_segments()] == [
        [[0.4, 0.1], [0.4, 0.5]],
        [[0.95, 0.9], [0.95, 1.0]],
    ]
    assert main.lines[1].get_xydata().tolist() == [[0.4, 0.3], [0.95, 1.0]]
    assert [text.get_text() for text in below.texts] == ["12", "1,234"]


def test_coverage_shows_the_points_and_the_threshold_if_it_keeps_any():
    points = [{"coverage": 0.5, "accuracy": 1.0}, {"coverage": 1.0, "accuracy": 0.75}]
    kept = {"value": 0.6, "coverage": 0.4, "precision": 0.9}
    for threshold, marks in ((None, []), (kept | {"coverage": 0, "precision": None}, []), (kept, [[[0.4, 0.9]]])):
        [axes] = draw_coverage(points, threshold).axes
        assert [line.get_xydata().tolist() for line in axes.lines] == [[[0.5, 1.0], [1.0, 0.75]], *marks]
        assert [text.get_text() for text in axes.texts] == ["threshold"] * len(marks)


def test_map_ties_every_image_to_the_text_of_its_class():
    predictions = make_predictions(40, IMIGUE_CLASS_NAMES[:4], noise=0.6)
    right = predictions.logits.argmax(axis=1) == predictions.labels
    images, texts = map_embeddings(predictions.image_embeds, predictions.text_embeds)
    (axes,) = draw_map(images, texts, predictions.labels, right, predictions.class_names).axes
    good, bad = [one.get_segments() for one in axes.collections if isinstance(one, LineCollection)]
    assert (len(good), len(bad)) == (right.sum(), (~right).sum())
    markers = axes.collections[-1].get_offsets()  # of the texts
    assert [segment[1].tolist() for segment in good] == [
        markers[label].tolist() for label in predictions.labels[right]
    ]
    assert {text.get_text() for text in axes.texts} == set(predictions.class_names)


def test_map_of_many_classes_numbers_them():
    predictions = make_predictions(50, MANY_NAMES)
    figure = draw_map(np.zeros((50, 2)), np.random.default_rng(0).random((150, 2)), predictions.labels,
    predictions.labels > 0,
                      MANY_NAMES)  # fmt: skip
    assert {text.get_text() for text in figure.axes[0].texts} == {str(number) for number in range(1, 151)}
