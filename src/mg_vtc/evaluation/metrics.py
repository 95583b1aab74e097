"""Scores of a classifier, in the interface of the `evaluate` library and without its downloads."""

from typing import Any, NamedTuple

import datasets
import evaluate
import numpy as np
from transformers import EvalPrediction


class TopKAccuracy(evaluate.Metric):
    """Share of rows whose class is among the k highest scores, a fraction in [0, 1].

    A tie counts against the row: its class must score higher than all but k - 1 others, so that a model which scores
    all classes alike gets 0, not a lucky 1.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of rows whose class is among the k highest scores.",
            citation="",
            inputs_description="predictions: scores of all classes, a row each. references: class ids.",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float32")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, *, predictions: Any, references: Any, k: int = 1) -> dict[str, float]:
        return {f"top{k}_accuracy": top_k_accuracy(np.asarray(predictions), np.asarray(references), k)}


def top_k_accuracy(scores_BC: np.ndarray, labels_B: np.ndarray, k: int) -> float:
    """`TopKAccuracy` of scores `(rows, classes)` and class ids `(rows,)`, without the detour through Arrow."""
    return float(find_top_k_hits(scores_BC, labels_B, k).mean())


def find_top_k_hits(scores_BC: np.ndarray, labels_B: np.ndarray, k: int) -> np.ndarray:
    """Whether the class of each row is among the k highest scores, as `TopKAccuracy` has it, bool `(rows,)`."""
    own_B1 = np.take_along_axis(scores_BC, labels_B[:, None], axis=1)
    rank_B = (scores_BC >= own_B1).sum(axis=1)  # 1 = highest; NaN scores compare as False, so rank 0
    return (rank_B >= 1) & (rank_B <= k)


def predict_classes(scores_BC: np.ndarray) -> np.ndarray:
    """Class with the highest score of each row `(rows,)`; -1 where there is none, as others score as high.

    So a row has its own class here exactly if `top_k_accuracy` with k = 1 counts it as a hit. NaN scores are lower
    than all others.
    """
    highest_B1 = np.fmax.reduce(scores_BC, axis=1)[:, None]
    is_highest_BC = scores_BC >= highest_B1  # False where the score or all of the row is NaN
    return np.where(is_highest_BC.sum(axis=1) == 1, is_highest_BC.argmax(axis=1), -1)


class ClassScores(NamedTuple):
    """Scores of every class, each float64 `(classes,)`.

    Attributes:
        precision: Share of the rows answered with the class that are of it; 0 where no row is.
        recall: Share of the rows of the class that are answered with it; 0 where there is no such row.
        f1: Harmonic mean of the two; 0 where one is 0.
        support: Rows of the class, or the sum of their weights.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    @property
    def mean_class_accuracy(self) -> float:
        """Mean recall over the classes that have a row (balanced accuracy), in [0, 1]."""
        return float(self.recall[self.support > 0].mean())

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that have a row, in [0, 1].

        A class that is only predicted has no term of its own: its rows are missed ones of the classes that they are
        of. (scikit-learn, unless told the `labels`, adds a term of 0 for it.)
        """
        return float(self.f1[self.support > 0].mean())


def score_classes(
    labels_B: np.ndarray, predicted_B: np.ndarray, num_classes: int, weights_B: np.ndarray | None = None
) -> ClassScores:
    """Precision, recall and F1 of every class.

    Args:
        labels_B: Class ids `(rows,)`.
        predicted_B: Class ids that were answered, -1 for none `(rows,)`.
        num_classes: Number of classes, with or without rows.
        weights_B: How often each row counts `(rows,)`; once by default.
    """
    weights_B = np.ones(len(labels_B)) if weights_B is None else weights_B
    support = np.bincount(labels_B, weights_B, num_classes)  # (classes,)
    answered = np.bincount(predicted_B + 1, weights_B, num_classes + 1)[1:]  # (classes,), without the rows of -1
    hits = np.bincount(labels_B, weights_B * (labels_B == predicted_B), num_classes)  # (classes,)
    tiny = np.finfo(np.float64).tiny  # makes 0 of 0 / 0
    return ClassScores(
        precision=hits / np.maximum(answered, tiny),
        recall=hits / np.maximum(support, tiny),
        f1=2 * hits / np.maximum(support + answered, tiny),
        support=support,
    )


def confusion_matrix(labels_B: np.ndarray, predicted_B: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the rows of each class, a row, by what was predicted, a column `(classes, classes)`.

    Args:
        labels_B: Class ids `(rows,)`.
        predicted_B: Class ids that were predicted `(rows,)`; rows of -1, without a prediction, are in no column.
        num_classes: Number of classes.
    """
    cells = (labels_B * num_classes + predicted_B)[predicted_B >= 0]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def score_top_k(prediction: EvalPrediction) -> dict[str, float]:
    """Scores of a whole set, for `Trainer(compute_metrics=...)`.

    Returns:
        `top1_accuracy`, `top5_accuracy`, `mean_class_accuracy` and `macro_f1`, fractions in [0, 1].
    """
    scores_BC, labels_B = prediction.predictions, prediction.label_ids
    by_class = score_classes(labels_B, predict_classes(scores_BC), scores_BC.shape[1])
    return {f"top{k}_accuracy": top_k_accuracy(scores_BC, labels_B, k) for k in (1, 5)} | {
        "mean_class_accuracy": by_class.mean_class_accuracy,
        "macro_f1": by_class.macro_f1,
    }


def constant_answer_baselines(train_labels: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores of answering the same for every picture: what a model must beat to have learned anything.

    Args:
        train_labels: Class ids of the training rows, from which the commonest classes are taken.
        labels: Class ids of the rows that are scored.

    Returns:
        `top1_accuracy`, `mean_class_accuracy` and `macro_f1` after `baseline_majority_class_`, and
        `baseline_five_commonest_top5_accuracy`; fractions in [0, 1].
    """
    commonest = np.argsort(-np.bincount(train_labels), kind="stable")
    answer = np.full_like(labels, commonest[0])
    by_class = score_classes(labels, answer, max(labels.max(), commonest[0]) + 1)
    return {
        "baseline_majority_class_top1_accuracy": float(np.isin(labels, commonest[:1]).mean()),
        "baseline_majority_class_mean_class_accuracy": by_class.mean_class_accuracy,
        "baseline_majority_class_macro_f1": by_class.macro_f1,
        "baseline_five_commonest_top5_accuracy": float(np.isin(labels, commonest[:5]).mean()),
    }
