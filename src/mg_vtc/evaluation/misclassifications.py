"""Misclassifications of a model: the most confident ones, and the most frequent confusions."""

from typing import Any

import numpy as np

from .metrics import confusion_matrix, predict_classes
from .results import Predictions

NUM_SHOWN = 12  # shown with their images
NUM_CONFUSIONS = 10  # pairs of classes


def find_misclassifications(predictions: Predictions) -> list[dict[str, Any]]:
    """Find the most confident misclassifications, most confident first.

    Frames of a clip with the same misclassification are near duplicates; only the most confident one is returned. Rows
    with tied scores have no prediction (see `predict_classes`) and are excluded.

    Returns:
        Up to `NUM_SHOWN` entries: `row`, `file_name`, the names `label` and `prediction`, their probabilities
        `label_probability` and `probability`, and the number of `others` of the clip that the row represents.
    """
    assert predictions.file_names is not None
    exp = np.exp(predictions.logits - predictions.logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = exp / exp.sum(axis=1, keepdims=True)  # (num_rows, num_classes)
    predicted = predict_classes(predictions.logits)  # (num_rows,), -1 without a prediction
    confidence = probabilities.max(axis=1)  # (num_rows,)
    groups: dict[Any, list[int]] = {}  # rows of each misclassification, most confident first
    for row in np.argsort(-confidence, kind="stable").tolist():
        label = predictions.labels[row]
        if predicted[row] not in (label, -1):
            clip = row if predictions.clips is None else predictions.clips[row]
            groups.setdefault((clip, label, predicted[row]), []).append(row)
    return [
        {
            "row": rows[0],
            "file_name": predictions.file_names[rows[0]],
            "label": predictions.class_names[label],
            "prediction": predictions.class_names[prediction],
            "label_probability": float(probabilities[rows[0], label]),
            "probability": float(confidence[rows[0]]),
            "others": len(rows) - 1,
        }
        for (_, label, prediction), rows in list(groups.items())[:NUM_SHOWN]
    ]


def count_predictions(predictions: Predictions) -> np.ndarray:
    """Count the images of each true class (row) and predicted class (column), `(num_classes, num_classes)`.

    Images without a prediction (see `predict_classes`) are not counted.
    """
    return confusion_matrix(predictions.labels, predict_classes(predictions.logits), len(predictions.class_names))


def list_confusions(predictions: Predictions) -> list[dict[str, Any]]:
    """List the most frequent confusions of two classes: `label`, `prediction`, `count`, `support`."""
    counts = count_predictions(predictions)
    support = np.bincount(predictions.labels, minlength=len(predictions.class_names))  # (num_classes,)
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    most_frequent = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    pairs = [divmod(int(cell), len(counts)) for cell in most_frequent]
    return [
        {
            "label": predictions.class_names[label],
            "prediction": predictions.class_names[prediction],
            "count": int(wrong[label, prediction]),
            "support": int(support[label]),
        }
        for label, prediction in pairs
        if wrong[label, prediction]
    ]
