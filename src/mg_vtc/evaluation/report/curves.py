"""Training curves: small figures of losses, scores and learning rates, for the report and the model card.

Sizes are in pixels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from ...runs.records import Training
from .palette import INK, MUTED, RIGHT, WRONG, drawing, new_figure

WIDTH, HEIGHT = 380, 290  # of a panel; a telephone is as wide
FEW = 20  # points, up to which each has a marker


class Panel(NamedTuple):
    """Figure of some values of a log.

    Attributes:
        title: Its title.
        names: Name of each curve by its key in the log; at most three.
        scale: "linear", "percent" for fractions in [0, 1], or "log".
        shows_kept: Whether the checkpoint that was kept is marked.
    """

    title: str
    names: Mapping[str, str]
    scale: str = "linear"
    shows_kept: bool = False


PANELS = (
    Panel("Loss", {"loss": "training", "eval_loss": "validation"}, shows_kept=True),
    Panel(
        "Accuracy on the validation images",
        {"eval_top5_accuracy": "top-5", "eval_top1_accuracy": "top-1"},
        "percent",
        shows_kept=True,
    ),
    Panel(
        "Learning rates",
        {"learning_rate": "heads", "vision_learning_rate": "vision tower", "text_learning_rate": "text tower"},
        "log",
    ),
    Panel("Saturated fraction", {"saturated_fraction": "images with a vanished gradient"}, "percent"),
)


def find_points(training: Training, panel: Panel, key: str) -> list[tuple[float, float]]:
    """Return the points of a curve; a logarithmic one has no rates of 0."""
    unit = _choose_unit(training)
    points = [(log[unit], log[key]) for log in training.history if key in log]
    return [(x, y) for x, y in points if y > 0] if panel.scale == "log" else points


def _choose_unit(training: Training) -> str:
    return "epoch" if max(log["epoch"] for log in training.history) > 1 else "step"  # streamed data are one epoch


def list_panels(training: Training) -> list[Panel]:
    """Return the panels of which the log has a value."""
    return [panel for panel in PANELS if any(find_points(training, panel, key) for key in panel.names)]


@drawing()
def draw_panel(training: Training, panel: Panel) -> Figure:
    """Draw one of `list_panels`."""
    figure = new_figure(WIDTH, HEIGHT)
    _fill(figure.add_axes((0.16, 0.16, 0.8, 0.67)), training, panel)
    return figure


@drawing()
def draw_panels(training: Training, panels: Sequence[Panel]) -> Figure:
    """Draw panels below their titles, two in a row."""
    num_rows, head = -(-len(panels) // 2), 26
    row = HEIGHT + head
    figure = new_figure(2 * WIDTH, num_rows * row)
    for number, panel in enumerate(panels):
        left, bottom = (number % 2) / 2, 1 - (number // 2 + 1) / num_rows
        size = (0.4, 0.67 * HEIGHT / (num_rows * row))
        _fill(figure.add_axes((left + 0.08, bottom + 0.16 * HEIGHT / (num_rows * row), *size)), training, panel)
        top = bottom + (HEIGHT + 8) / (num_rows * row)
        figure.text(left + 0.02, top, panel.title, color=INK, weight="bold", fontsize=13, va="center")
    return figure


def _fill(axes: Axes, training: Training, panel: Panel) -> None:
    """Draw the curves of a panel, the checkpoint that was kept and the baseline."""
    lows, highs = [], []
    for (key, name), colour, line in zip(panel.names.items(), (RIGHT, WRONG, INK), ("-", "--", ":"), strict=False):
        points = find_points(training, panel, key)
        if points:
            marker = "o" if len(points) < FEW else None
            axes.plot(
                *zip(*points, strict=True), color=colour, linestyle=line, label=name, marker=marker, markersize=4
            )
            lows.append(min(y for _, y in points))
            highs.append(max(y for _, y in points))
    unit = _choose_unit(training)
    kept = next((log[unit] for log in training.history if log["step"] == training.best_step), None)
    if panel.shows_kept and kept is not None:
        axes.axvline(kept, color=MUTED, linestyle=":", linewidth=1.5, label="kept checkpoint", zorder=0)
    if "eval_top1_accuracy" in panel.names and training.majority is not None:
        axes.axhline(training.majority, color=MUTED, linewidth=1, label="majority-class baseline", zorder=0)
    axes.set(xlabel=unit, xlim=(0, None), ylim=(0, 1.02) if panel.scale == "percent" else None)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.grid(axis="y")
    axes.tick_params(length=0, pad=6)
    if panel.scale == "percent":
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    elif panel.scale == "log":
        low, high = math.floor(math.log10(min(lows))), math.ceil(math.log10(max(highs)))
        axes.set(yscale="log", ylim=(10.0**low, 10.0 ** max(high, low + 1)))
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(_format_rate))
    columns = 3 if len(panel.names) == 3 else 2
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=columns, borderpad=0.2, fontsize=11)


def _format_rate(value: Any, position: int) -> str:
    return f"{value:.0e}".replace("e-0", "e-")
