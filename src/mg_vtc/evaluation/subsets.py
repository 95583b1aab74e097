"""Scores of subsets of the images, such as those of each person or gender."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.labels import sort_ids
from .intervals import bootstrap_interval, number_groups
from .metrics import find_top_k_hits, predict_classes, score_classes
from .results import Predictions
from .scores import describe_interval, make_interval


def score_subsets(predictions: Predictions, column: str, values: Sequence[str]) -> dict[str, Any]:
    """Score the images of each value of a column, and how much the scores differ between the values.

    Args:
        predictions: Predictions of all images.
        column: Name of the column, for the results.
        values: Value of the column for each image `(num_rows,)`.

    Returns:
        `column`; `top1_accuracy`, with its `mean`, `lowest`, `highest` and `standard_deviation` (null for one value)
        over the values, each value counting the same; and `subsets`: for each value, its number of images, clips (null
        if unknown) and classes, top-1 accuracy with its interval, and mean class accuracy.
    """
    of_row = np.asarray(values)
    subsets = [_score(predictions, value, np.flatnonzero(of_row == value)) for value in sort_ids([*set(values)])]
    accuracies = [subset["top1_accuracy"]["value"] for subset in subsets]
    return {
        "column": column,
        "top1_accuracy": {
            "mean": float(np.mean(accuracies)),
            "lowest": min(accuracies),
            "highest": max(accuracies),
            "standard_deviation": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        },
        "subsets": subsets,
    }


def _score(predictions: Predictions, value: str, rows: np.ndarray) -> dict[str, Any]:
    """Score the rows `(num_rows,)` of a value."""
    logits, labels = predictions.logits[rows], predictions.labels[rows]
    clips = None if predictions.clips is None else [predictions.clips[row] for row in rows]
    hits = find_top_k_hits(logits, labels, 1)  # (num_rows,)
    groups = number_groups(len(rows), clips)  # (num_rows,)
    low, high = bootstrap_interval(lambda weights: np.array([hits @ weights / weights.sum()]), groups)
    accuracy = make_interval(float(hits.mean()), float(low[0]), float(high[0]), int(groups.max()) + 1)
    by_class = score_classes(labels, predict_classes(logits), logits.shape[1])
    return {
        "value": value,
        "num_images": len(rows),
        "num_clips": None if clips is None else len(set(clips)),
        "num_classes": int((by_class.support > 0).sum()),
        "top1_accuracy": describe_interval(accuracy),
        "mean_class_accuracy": by_class.mean_class_accuracy,
    }
