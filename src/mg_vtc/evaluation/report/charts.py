"""Matplotlib figures of the report.

Sizes are in pixels. Classes are numbered from 1, in the model's order.
"""

from collections.abc import Sequence
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter

from ...messages import escape_controls
from .embedding_map import place_labels
from .palette import BLACK, INK, LINE, MUTED, PAGE, RIGHT, WRONG, drawing, new_figure

NARROW = 380  # pixels, fits the width of a phone
WIDE = 960
LONGEST_NAME = 52  # characters
NUM_NAMED = 40  # classes; with more, the map shows numbers instead of names


def short(name: str) -> str:
    """Return a class name on one line, cut in the middle if it is too long for a figure."""
    # in the middle, as names of one data set often begin alike
    name = escape_controls(" ".join(name.split()))
    if len(name) + count_wide(name) <= LONGEST_NAME:
        return name
    while len(name) + count_wide(name) >= LONGEST_NAME:
        name = name[: len(name) // 2] + name[len(name) // 2 + 1 :]
    return f"{name[: len(name) // 2]}…{name[len(name) // 2 :]}"


def count_wide(text: str) -> int:
    """Count the double-width characters, such as Chinese ones."""
    return sum(east_asian_width(character) in "WF" for character in text)


def measure(text: Text) -> tuple[float, float]:
    """Return width and height of a text, in pixels, even if the font lacks its wide characters."""
    box = text.get_window_extent()
    size = text.get_fontproperties().get_size_in_points()
    return box.width + 0.4 * size * count_wide(text.get_text()), box.height  # placeholders are 0.6 wide


@drawing()
def draw_confusion(counts: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix.

    Args:
        counts: Number of images by true class (row) and predicted class (column), `(num_classes, num_classes)`.
        class_names: Class names in the same order.
    """
    num_classes, support = len(counts), counts.sum(axis=1)  # (num_classes,)
    cell = float(np.clip(600 / num_classes, 11, 44))
    label_size, head, margin = 11 if cell >= 14 else 9, 44, 8
    labels = [f"{short(name)}\u2002{number}" for number, name in enumerate(class_names, start=1)]
    figure = new_figure(WIDE, WIDE)
    texts = [figure.text(0, 0, label, fontsize=label_size) for label in labels]
    left = max(measure(text)[0] for text in texts) + 2 * margin
    for text in texts:
        text.remove()
    side = cell * num_classes
    width, height = left + side + margin, head + side + margin
    figure.set_size_inches(width / 72, height / 72)
    axes = figure.add_axes((left / width, margin / height, side / width, side / height))
    axes.set(xlim=(0, num_classes), ylim=(num_classes, 0))
    axes.tick_params(length=0, labelsize=label_size, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("predicted", loc="left", labelpad=6)
    rotation = 90 if cell < 18 and num_classes > 9 else 0
    axes.set_xticks(
        np.arange(num_classes) + 0.5, [str(number) for number in range(1, num_classes + 1)], rotation=rotation
    )
    axes.set_yticks(np.arange(num_classes) + 0.5, labels)
    for tick, size in zip(axes.get_yticklabels(), support, strict=True):
        tick.set_color(INK if size else MUTED)
    axes.spines[:].set_visible(True)
    lines = np.arange(num_classes + 1)
    axes.hlines(lines, 0, num_classes, color=LINE, linewidth=0.4, zorder=0)
    axes.vlines(lines, 0, num_classes, color=LINE, linewidth=0.4, zorder=0)
    _fill_cells(axes, counts, cell)
    return figure


def _fill_cells(axes: Axes, counts: np.ndarray, cell: float) -> None:
    """Colour the cells by their fraction of the row, and write it as percent into cells that are large enough."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (num_classes, num_classes)
    filled = np.argwhere(counts).tolist()  # (row, column) pairs
    alphas = [0.08 + 0.92 * shares[row, column] ** 0.7 for row, column in filled]  # keeps small fractions visible
    colours = [RIGHT if row == column else WRONG for row, column in filled]
    cells = PatchCollection([Rectangle((column, row), 1, 1) for row, column in filled])
    cells.set(facecolors=list(zip(colours, alphas, strict=True)), linewidth=0)
    axes.add_collection(cells)
    size = min(10.0, (cell - 3) / 1.92)  # "100" is 1.92 font sizes wide
    for (row, column), alpha in zip(filled, alphas, strict=True):
        text = f"{100 * shares[row, column]:.0f}"
        if size >= 6 and text != "0":
            colour = INK if alpha < 0.6 else BLACK if alpha < 0.88 else PAGE  # readable in light and in dark
            axes.text(column + 0.5, row + 0.53, text, fontsize=size, color=colour, ha="center", va="center")


@drawing()
def draw_classes(classes: Sequence[dict[str, Any]], most_support: int) -> Figure:
    """Draw bars of recall, precision and support of some classes.

    Args:
        classes: `name`, `recall`, `precision` (fractions, None if undefined) and `support` of each class.
        most_support: Support of the longest bar.
    """
    row_height, top, bottom = 38, 22, 22
    height = top + bottom + row_height * len(classes)
    figure = new_figure(NARROW, height)
    span = (height - top - bottom) / height
    scores = figure.add_axes((0.03, bottom / height, 0.62, span))
    support = figure.add_axes((0.71, bottom / height, 0.26, span))
    for axes in (scores, support):
        axes.set(ylim=(row_height * len(classes), 0), yticks=[])
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0, labelsize=10)
    scores.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    scores.xaxis.set_major_formatter(PercentFormatter(1))
    scores.grid(axis="x")
    scores.set_axisbelow(True)
    support.set(xlim=(0, 1), xticks=[])
    scores.text(0, 1, "recall", color=RIGHT, transform=scores.transAxes, va="bottom", weight="bold")
    scores.text(0.25, 1, "precision", color=WRONG, transform=scores.transAxes, va="bottom", weight="bold")
    support.text(0, 1, "images", color=MUTED, transform=support.transAxes, va="bottom", weight="bold")
    for number, row in enumerate(classes):
        y = number * row_height
        scores.text(0, y + 12, short(row["name"]), color=INK if row["support"] else MUTED, va="center", clip_on=False)
        for score, colour, offset in (("recall", RIGHT, 21), ("precision", WRONG, 29)):
            if row[score] is not None:
                scores.barh(y + offset, row[score], height=7, color=colour, edgecolor=colour, linewidth=0.8)
        if row["recall"] is None:
            scores.text(0.02, y + 23, "no images here", color=MUTED, va="center", fontsize=9)
        elif row["precision"] is None:
            scores.text(0.02, y + 28, "never predicted", color=MUTED, va="center", fontsize=9)
        bar = 0.55 * row["support"] / most_support
        support.barh(y + 25, bar, height=14, color=MUTED, alpha=0.55)
        support.text(bar + 0.05, y + 25, f"{row['support']:,}", va="center_baseline", fontsize=10)
    return figure


@drawing()
def draw_reliability(bins: Sequence[dict[str, Any]]) -> Figure:
    """Draw a reliability diagram above a histogram of the confidence.

    Args:
        bins: Bounds `low` and `high` of the confidence, mean `confidence`, `accuracy`, its bounds `accuracy_low` and
            `accuracy_high`, and `count` of each bin; None if undefined.
    """
    filled = [one for one in bins if one["count"]]
    figure = new_figure(NARROW, 440)
    main, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    figure.subplots_adjust(left=0.15, right=0.95, bottom=0.11, top=0.98, hspace=0.12)
    lows, widths = [one["low"] for one in filled], [one["high"] - one["low"] for one in filled]
    main.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    main.bar(lows, [one["accuracy"] for one in filled], widths, align="edge", color=RIGHT, alpha=0.3)
    points = [one["confidence"] for one in filled], [one["accuracy"] for one in filled]
    sure = [one for one in filled if one["accuracy_low"] is not None]
    bounds = [one["accuracy_low"] for one in sure], [one["accuracy_high"] for one in sure]
    main.vlines([one["confidence"] for one in sure], *bounds, color=RIGHT, linewidth=1, clip_on=False)
    main.plot(*points, "o-", color=RIGHT, linewidth=1.5, markersize=5, clip_on=False)
    main.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
    for axis in (main.xaxis, main.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    main.tick_params(length=0)
    counts = [one["count"] for one in filled]
    below.bar(lows, counts, widths, align="edge", color=MUTED, alpha=0.55)
    below.set(xlabel="confidence of the prediction", ylabel="images", ylim=(0, 1.75 * max(counts)), yticks=[])
    below.tick_params(length=0)
    if min(widths) * NARROW * 0.8 >= 12:
        for low, width, count in zip(lows, widths, counts, strict=True):
            below.annotate(
                f"{count:,}", (low + width / 2, count), (0, 3), textcoords="offset points",
                ha="center", va="bottom", rotation=90, fontsize=9, color=INK,
            )  # fmt: skip
    return figure


@drawing()
def draw_coverage(points: Sequence[dict[str, float]], threshold: dict[str, Any] | None = None) -> Figure:
    """Draw the accuracy of the most confident predictions by their share of all.

    Args:
        points: `coverage` and `accuracy` from few predictions to all, fractions.
        threshold: `coverage` and `precision` of the stored threshold, which are marked; None without one.
    """
    figure = new_figure(NARROW, 330)
    axes = figure.add_axes((0.15, 0.15, 0.8, 0.82))
    coverages, accuracies = ([point[name] for point in points] for name in ("coverage", "accuracy"))
    axes.plot(coverages, accuracies, "o-" if len(points) == 1 else "-", color=RIGHT, linewidth=1.5, clip_on=False)
    if threshold is not None and threshold["precision"] is not None:
        mark = threshold["coverage"], threshold["precision"]
        axes.plot(*mark, "D", color=WRONG, markersize=7, clip_on=False)
        side = "right" if mark[0] > 0.6 else "left"
        axes.annotate("threshold", mark, (0, -10), textcoords="offset points", color=WRONG, ha=side, va="top")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="coverage: share of the predictions that are kept", ylabel="accuracy")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=8)  # so that the two 0% do not touch
    return figure


@drawing()
def draw_map(
    images: np.ndarray, texts: np.ndarray, labels: np.ndarray, right: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """Draw a map of images and class texts, with a line from every image to the text of its class.

    Args:
        images: Coordinates of the images, `(num_rows, 2)`, within [0, 1].
        texts: Coordinates of the texts, `(num_classes, 2)`, within [0, 1].
        labels: Class ids of the images, `(num_rows,)`.
        right: Whether each prediction is correct, bool `(num_rows,)`.
        class_names: Class names in id order.
    """
    named = len(class_names) <= NUM_NAMED
    names = [short(name) if named else str(number) for number, name in enumerate(class_names, start=1)]
    height = max(600, round(len(names) * 1.6))  # room for the numbers of thousands of classes
    figure, margin = new_figure(WIDE, height), 24
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDE), ylim=(height, 0))
    axes.axis("off")
    scale = np.array([WIDE - 2 * margin, height - 2 * margin])
    images, texts = margin + images * scale, margin + texts * scale
    ties = np.stack([images, texts[labels]], axis=1)  # (num_rows, 2, 2): from, to
    alpha = float(np.clip(60 / len(images), 0.12, 0.5))
    axes.add_collection(LineCollection(ties[right], colors=RIGHT, alpha=alpha, linewidths=0.8))
    axes.add_collection(LineCollection(ties[~right], colors=WRONG, alpha=alpha, linewidths=0.8))
    axes.scatter(images[right, 0], images[right, 1], s=14, color=RIGHT, alpha=0.75, linewidths=0)
    axes.scatter(images[~right, 0], images[~right, 1], s=22, color=WRONG, marker="x", linewidths=1.4)
    axes.scatter(texts[:, 0], texts[:, 1], s=46, color=INK, marker="D", edgecolors=PAGE, linewidths=1)
    drawn = [axes.text(x, y, name, ha="center", va="center") for (x, y), name in zip(texts, names, strict=True)]
    _spread(axes, drawn, texts, WIDE, height)
    return figure


def _spread(axes: Axes, labels: Sequence[Text], anchors: np.ndarray, width: float, height: float) -> None:
    """Move labels apart from each other and from markers, and draw a line to labels that moved far."""
    sizes = np.array([measure(label) for label in labels]) + np.array([6, 2])  # (num_labels, 2)
    middles = place_labels(anchors, sizes, width=width, height=height, marker_size=10)
    for label, middle, anchor, size in zip(labels, middles, anchors, sizes, strict=True):
        label.set_position(tuple(middle))
        label.set_bbox({"facecolor": PAGE, "alpha": 0.8, "linewidth": 0, "pad": 1})
        end = np.clip(anchor, middle - size / 2, middle + size / 2)  # point of the label closest to the marker
        if np.hypot(*(end - anchor)) > 10:
            axes.plot(*np.stack([anchor, end]).T, color=INK, linewidth=0.7)
