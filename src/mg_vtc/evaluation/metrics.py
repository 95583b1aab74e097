"""Scores of a classifier, in the interface of the `evaluate` library and without its downloads."""

from typing import Any

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
    own_B1 = np.take_along_axis(scores_BC, labels_B[:, None], axis=1)
    rank_B = (scores_BC >= own_B1).sum(axis=1)  # 1 = highest; NaN scores compare as False, so rank 0
    return float(((rank_B >= 1) & (rank_B <= k)).mean())


def score_top_k(prediction: EvalPrediction) -> dict[str, float]:
    """Top-1 and top-5 accuracy of a whole set, for `Trainer(compute_metrics=...)`."""
    return {f"top{k}_accuracy": top_k_accuracy(prediction.predictions, prediction.label_ids, k) for k in (1, 5)}


def constant_answer_baselines(train_labels: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores of answering the same for every picture: what a model must beat to have learned anything.

    Args:
        train_labels: Class ids of the training rows, from which the commonest classes are taken.
        labels: Class ids of the rows that are scored.

    Returns:
        `baseline_majority_class_top1_accuracy` and `baseline_five_commonest_top5_accuracy`, fractions in [0, 1].
    """
    commonest = np.argsort(-np.bincount(train_labels), kind="stable")
    return {
        "baseline_majority_class_top1_accuracy": float(np.isin(labels, commonest[:1]).mean()),
        "baseline_five_commonest_top5_accuracy": float(np.isin(labels, commonest[:5]).mean()),
    }
