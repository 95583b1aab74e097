"""Classification metrics with the interface of the `evaluate` library, without its downloads."""

from typing import Any, NamedTuple

import datasets
import evaluate
import numpy as np
from transformers import EvalPrediction


class TopKAccuracy(evaluate.Metric):
    """Fraction of rows whose class is among the k highest scores, in [0, 1].

    Ties count against the row: its class must score higher than all but k - 1 others. A model with equal scores for
    all classes gets 0.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Fraction of rows whose class is among the k highest scores.",
            citation="",
            inputs_description="predictions: scores of all classes for each row. references: class ids.",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float32")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, *, predictions: Any, references: Any, k: int = 1) -> dict[str, float]:
        return {f"top{k}_accuracy": top_k_accuracy(np.asarray(predictions), np.asarray(references), k)}


def top_k_accuracy(scores_BC: np.ndarray, labels_B: np.ndarray, k: int) -> float:
    """Compute `TopKAccuracy` of scores `(rows, classes)` and class ids `(rows,)` directly, without Arrow."""
    return float(find_top_k_hits(scores_BC, labels_B, k).mean())


def find_top_k_hits(scores_BC: np.ndarray, labels_B: np.ndarray, k: int) -> np.ndarray:
    """Return whether the class of each row is among the k highest scores (see `TopKAccuracy`), bool `(rows,)`."""
    own_B1 = np.take_along_axis(scores_BC, labels_B[:, None], axis=1)
    rank_B = (scores_BC >= own_B1).sum(axis=1)  # 1 = highest; NaN scores compare as False, so rank 0
    return (rank_B >= 1) & (rank_B <= k)


def predict_classes(scores_BC: np.ndarray) -> np.ndarray:
    """Return the class with the highest score of each row `(rows,)`; -1 if the highest score is tied.

    A prediction is correct exactly if `top_k_accuracy` with k = 1 counts it as a hit. NaN scores rank lowest.
    """
    highest_B1 = np.fmax.reduce(scores_BC, axis=1)[:, None]
    is_highest_BC = scores_BC >= highest_B1  # False if the score or the whole row is NaN
    return np.where(is_highest_BC.sum(axis=1) == 1, is_highest_BC.argmax(axis=1), -1)


class ClassScores(NamedTuple):
    """Scores of every class, each float64 `(classes,)`.

    Attributes:
        precision: Fraction of the rows predicted as the class that belong to it; 0 if none are predicted.
        recall: Fraction of the rows of the class that are predicted as it; 0 if it has no rows.
        f1: Harmonic mean of the two; 0 if one is 0.
        support: Number of rows of the class, or the sum of their weights.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    @property
    def mean_class_accuracy(self) -> float:
        """Mean recall over the classes with rows (balanced accuracy), in [0, 1]."""
        return float(self.recall[self.support > 0].mean())

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes with rows, in [0, 1].

        Classes that are only predicted are not averaged. (scikit-learn without `labels` counts them as 0.)
        """
        return float(self.f1[self.support > 0].mean())


def score_classes(
    labels_B: np.ndarray, predicted_B: np.ndarray, num_classes: int, weights_B: np.ndarray | None = None
) -> ClassScores:
    """Compute precision, recall and F1 of every class.

    Args:
        labels_B: Class ids `(rows,)`.
        predicted_B: Predicted class ids, -1 for none `(rows,)`.
        num_classes: Number of classes, with or without rows.
        weights_B: Weight of each row `(rows,)`; 1 by default.
    """
    weights_B = np.ones(len(labels_B)) if weights_B is None else weights_B
    support = np.bincount(labels_B, weights_B, num_classes)  # (classes,)
    num_predicted = np.bincount(predicted_B + 1, weights_B, num_classes + 1)[1:]  # (classes,), without the rows of -1
    hits = np.bincount(labels_B, weights_B * (labels_B == predicted_B), num_classes)  # (classes,)
    tiny = np.finfo(np.float64).tiny  # 0 / 0 becomes 0
    return ClassScores(
        precision=hits / np.maximum(num_predicted, tiny),
        recall=hits / np.maximum(support, tiny),
        f1=2 * hits / np.maximum(support + num_predicted, tiny),
        support=support,
    )


def confusion_matrix(labels_B: np.ndarray, predicted_B: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the rows of each true class (row) and predicted class (column) `(classes, classes)`.

    Args:
        labels_B: Class ids `(rows,)`.
        predicted_B: Predicted class ids `(rows,)`; -1 (no prediction) is not counted.
        num_classes: Number of classes.
    """
    cells = (labels_B * num_classes + predicted_B)[predicted_B >= 0]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def score_top_k(prediction: EvalPrediction) -> dict[str, float]:
    """Compute the scores of an evaluation set, for `Trainer(compute_metrics=...)`.

    Returns:
        `top1_accuracy`, `top5_accuracy`, `mean_class_accuracy` and `macro_f1`, fractions in [0, 1].
    """
    scores_BC, labels_B = prediction.predictions, prediction.label_ids
    by_class = score_classes(labels_B, predict_classes(scores_BC), scores_BC.shape[1])
    return {f"top{k}_accuracy": top_k_accuracy(scores_BC, labels_B, k) for k in (1, 5)} | {
        "mean_class_accuracy": by_class.mean_class_accuracy,
        "macro_f1": by_class.macro_f1,
    }


def class_frequency_baselines(train_labels: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute the scores of predicting the most frequent training classes for every image.

    Args:
        train_labels: Class ids of the training rows, whose most frequent classes are predicted.
        labels: Class ids of the scored rows.

    Returns:
        `top1_accuracy`, `mean_class_accuracy` and `macro_f1` after `baseline_majority_class_`, and
        `baseline_five_most_frequent_top5_accuracy`; fractions in [0, 1].
    """
    most_frequent = np.argsort(-np.bincount(train_labels), kind="stable")
    predicted = np.full_like(labels, most_frequent[0])
    by_class = score_classes(labels, predicted, max(labels.max(), most_frequent[0]) + 1)
    return {
        "baseline_majority_class_top1_accuracy": float(np.isin(labels, most_frequent[:1]).mean()),
        "baseline_majority_class_mean_class_accuracy": by_class.mean_class_accuracy,
        "baseline_majority_class_macro_f1": by_class.macro_f1,
        "baseline_five_most_frequent_top5_accuracy": float(np.isin(labels, most_frequent[:5]).mean()),
    }
