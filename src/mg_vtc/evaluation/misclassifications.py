"""What a model answers wrongly: the surest mistakes, and which classes are taken for which."""

from typing import Any

import numpy as np

from .metrics import confusion_matrix, predict_classes
from .results import Answers

NUM_MISTAKES = 12  # that are shown with their pictures
NUM_CONFUSIONS = 10  # pairs of classes that are listed


def find_mistakes(answers: Answers) -> list[dict[str, Any]]:
    """Find the most confident wrong answers, the most confident first.

    Frames of a clip that were mistaken for the same class are near duplicates: the most confident one stands for them.
    A row whose highest scores are equal has no answer (see `predict_classes`), and is none of them.

    Returns:
        `row`, `file_name`, names `right` and `answered`, their probabilities `right_probability` and `probability`,
        and how many `others` of the clip the row stands for; up to `NUM_MISTAKES` of them.
    """
    assert answers.file_names is not None
    exp = np.exp(answers.logits - answers.logits.max(axis=1, keepdims=True), dtype=np.float64)
    probabilities = exp / exp.sum(axis=1, keepdims=True)  # (num_rows, num_classes)
    answered = predict_classes(answers.logits)  # (num_rows,), -1 for a row without an answer
    confidence = probabilities.max(axis=1)  # (num_rows,)
    groups: dict[Any, list[int]] = {}  # rows of each mistake, the most confident first
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
    """Count the pictures of the class of the row that were answered as the column, `(num_classes, num_classes)`.

    Those without an answer (see `predict_classes`) are in no column.
    """
    return confusion_matrix(answers.labels, predict_classes(answers.logits), len(answers.class_names))


def list_confusions(answers: Answers) -> list[dict[str, Any]]:
    """List the pairs of classes that were mistaken most often: `right`, `answered`, `count`, `support`."""
    counts, support = count_answers(answers), np.bincount(answers.labels, minlength=len(answers.class_names))
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    commonest = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSIONS]
    pairs = [divmod(int(cell), len(counts)) for cell in commonest]
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
