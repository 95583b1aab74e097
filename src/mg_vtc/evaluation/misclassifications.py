"""Misclassifications of a model: the most confident ones, and the most frequent confusions."""

from typing import Any

import numpy as np

from .metrics import confusion_matrix, predict_classes
from .results import Answers

NUM_MISTAKES = 12  # shown with their images
NUM_CONFUSIONS = 10  # pairs of classes


def find_mistakes(answers: Answers) -> list[dict[str, Any]]:
    """Find the most confident misclassifications, most confident first.

    Frames of a clip with the same misclassification are near duplicates; only the most confident one is returned. Rows
    with tied scores have no prediction (see `predict_classes`) and are excluded.

    Returns:
        Up to `NUM_MISTAKES` entries: `row`, `file_name`, the names `right` and `answered`, their probabilities
        `right_probability` and `probability`, and the number of `others` of the clip that the row represents.
    """
    assert answers.file_names is not None
    exp = np.exp(answers.logits - answers.logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = exp / exp.sum(axis=1, keepdims=True)  # (num_rows, num_classes)
    answered = predict_classes(answers.logits)  # (num_rows,), -1 without a prediction
    confidence = probabilities.max(axis=1)  # (num_rows,)
    groups: dict[Any, list[int]] = {}  # rows of each misclassification, most confident first
    for row in np.argsort(-confidence, kind="stable").tolist():
        label = answers.labels[row]
        if answered[row] not in (label, -1):
            clip = row if answers.clips is None else answers.clips[row]
            groups.setdefault((clip, label, answered[row]), []).append(row)
    return [
        {
            "row": rows[0],
            "file_name": answers.file_names[rows[0]],
            "right": answers.class_names[label],
            "answered": answers.class_names[answer],
            "right_probability": float(probabilities[rows[0], label]),
            "probability": float(confidence[rows[0]]),
            "others": len(rows) - 1,
        }
        for (_, label, answer), rows in list(groups.items())[:NUM_MISTAKES]
    ]


def count_answers(answers: Answers) -> np.ndarray:
    """Count the images of each true class (row) and predicted class (column), `(num_classes, num_classes)`.

    Images without a prediction (see `predict_classes`) are not counted.
    """
    return confusion_matrix(answers.labels, predict_classes(answers.logits), len(answers.class_names))


def list_confusions(answers: Answers) -> list[dict[str, Any]]:
    """List the most frequent confusions of two classes: `right`, `answered`, `count`, `support`."""
    counts, support = count_answers(answers), np.bincount(answers.labels, minlength=len(answers.class_names))
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    most_frequent = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    pairs = [divmod(int(cell), len(counts)) for cell in most_frequent]
    return [
        {
            "right": answers.class_names[label],
            "answered": answers.class_names[answer],
            "count": int(wrong[label, answer]),
            "support": int(support[label]),
        }
        for label, answer in pairs
        if wrong[label, answer]
    ]
