"""SVG figures of a report, from predictions and results."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ...runs.records import Training
from ..metrics import predict_classes
from ..misclassifications import count_predictions
from ..results import Predictions
from .charts import NUM_NAMED, draw_classes, draw_confusion, draw_coverage, draw_map, draw_reliability
from .curves import draw_panel, list_panels
from .embedding_map import map_embeddings, sample_rows
from .palette import PALETTE, to_svg

CLASSES_A_FIGURE = 12
MOST_CLASSES_DRAWN = 200  # in the confusion matrix: those with the most misclassifications


def draw_figures(predictions: Predictions, results: dict[str, Any], training: Training | None) -> dict[str, Any]:
    """Return the figures as SVG and the values of their captions, by their names in the template."""
    rows = sample_rows(len(predictions.labels))
    drawn = _choose_classes(predictions)
    return {
        "palette": PALETTE,
        "confusion": Markup(_draw_confusion(predictions, drawn)),
        "num_drawn": len(drawn),
        "class_bars": [Markup(svg) for svg in _draw_classes(results["classes"])],
        "reliability": Markup(
            to_svg(draw_reliability(results["calibration"]), "reliability", "Accuracy by confidence, and counts")
        ),
        "coverage": Markup(
            to_svg(
                draw_coverage(results["coverage"], results.get("temperature_scaling", {}).get("threshold")),
                "coverage",
                "Accuracy of the most confident predictions, by their share of all",
            )
        ),
        "map": None if predictions.image_embeds is None else Markup(_draw_map(predictions, rows)),
        "num_mapped": len(rows),
        "map_is_named": len(predictions.class_names) <= NUM_NAMED,
        "curves": [(title, Markup(svg)) for title, svg in _draw_curves(training)] if training else [],
    }


def _choose_classes(predictions: Predictions) -> np.ndarray:
    """Return the sorted ids of the classes in the matrix: all, or those with the most misclassifications."""
    counts = count_predictions(predictions)
    num_wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()  # (num_classes,)
    return np.sort(np.argsort(-num_wrong, kind="stable")[:MOST_CLASSES_DRAWN])


def _draw_confusion(predictions: Predictions, drawn: np.ndarray) -> str:
    names = [predictions.class_names[label] for label in drawn]
    figure = draw_confusion(count_predictions(predictions)[np.ix_(drawn, drawn)], names)
    return to_svg(figure, "confusion", "Confusion matrix: true class by row, predicted class by column")


def _draw_classes(classes: list[dict[str, Any]]) -> list[str]:
    """Draw up to `CLASSES_A_FIGURE` classes per figure, lowest recall first, classes without images last."""
    ranked = sorted(classes, key=lambda row: (row["recall"] is None, row["recall"]))
    num_figures = -(-len(ranked) // CLASSES_A_FIGURE)
    parts: Sequence[np.ndarray] = np.array_split(np.arange(len(ranked)), num_figures)
    most_support = max(row["support"] for row in classes)
    return [
        to_svg(
            draw_classes([ranked[row] for row in part], most_support),
            f"classes{number}",
            f"Recall, precision and support by class, part {number} of {num_figures}; the table below has the numbers",
        )
        for number, part in enumerate(parts, start=1)
    ]


def _draw_map(predictions: Predictions, rows: np.ndarray) -> str:
    assert predictions.image_embeds is not None
    assert predictions.text_embeds is not None
    images, texts = map_embeddings(predictions.image_embeds[rows], predictions.text_embeds)
    labels = predictions.labels[rows]
    right = predict_classes(predictions.logits[rows]) == labels
    figure = draw_map(images, texts, labels, right, predictions.class_names)
    return to_svg(figure, "map", "Map of images and class texts by the cosine of their embeddings")


def _draw_curves(training: Training) -> list[tuple[str, str]]:
    return [
        (panel.title, to_svg(draw_panel(training, panel), f"curves{number}", f"{panel.title} during training"))
        for number, panel in enumerate(list_panels(training))
    ]
