"""Scores of a set of predictions, each with its interval."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import datasets
import evaluate
import numpy as np

from .calibration import CalibrationBins, max_softmax, sort_into_bins
from .intervals import NUM_RESAMPLES, bootstrap_interval, exact_interval, number_groups
from .metrics import ClassScores, find_top_k_hits, predict_classes, score_classes

SCORE_NAMES = ("top1_accuracy", "top5_accuracy", "mean_class_accuracy", "macro_f1", "expected_calibration_error")


class Interval(NamedTuple):
    """A score and its 95 % interval, fractions in [0, 1]; the bounds are NaN if there is no interval.

    `method` is "bootstrap" or, if all resamples are equal, "exact" (see `exact_interval`).
    """

    value: float
    low: float
    high: float
    method: str = "bootstrap"


def make_interval(value: float, low: float, high: float, num_groups: int) -> Interval:
    """Return the interval of a fraction of groups; if all resamples are equal, the exact one."""
    return Interval(value, *exact_interval(value, num_groups), "exact") if low == high else Interval(value, low, high)


def describe_interval(interval: Interval) -> dict[str, Any]:
    """Return value, bounds (None without an interval) and method of a score."""
    bounds = {name: or_null(number) for name, number in zip(interval._fields[:3], interval[:3], strict=True)}
    return bounds | {"method": interval.method}


def or_null(number: float) -> float | None:
    """Return None for NaN, which JSON lacks."""
    return None if np.isnan(number) else number


class Scores(NamedTuple):
    """Scores of a set of predictions.

    Attributes:
        intervals: Interval of each of `SCORE_NAMES`.
        classes: Precision, recall, F1 and support of every class.
        bins: Bins of the reliability diagram.
        bin_low: Lower bound of the accuracy of each bin (num_bins,); NaN in an empty bin.
        bin_high: Upper bound of the accuracy of each bin (num_bins,); NaN in an empty bin.
    """

    intervals: dict[str, Interval]
    classes: ClassScores
    bins: CalibrationBins
    bin_low: np.ndarray
    bin_high: np.ndarray


class MicroGestureScores(evaluate.Metric):
    """Top-1, top-5, mean class accuracy, macro-F1 and expected calibration error, with intervals.

    Means over classes include only classes with rows, here and in each resample. Ties and NaN count against a row, as
    in `TopKAccuracy`. Pass the clip of every row as `compute(..., clips=...)` to resample whole clips instead of rows.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Scores of a micro-gesture classifier, each with a 95 % interval.",
            citation="",
            inputs_description="predictions: logits of all classes for each row. references: class ids.",
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("float32")), "references": datasets.Value("int64")}
            ),
        )

    def _compute(
        self, *, predictions: Any, references: Any, clips: Sequence[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        scores = score_predictions(np.asarray(predictions), np.asarray(references), clips)
        return {name: interval._asdict() for name, interval in scores.intervals.items()}


def score_predictions(
    logits_BC: np.ndarray,
    labels_B: np.ndarray,
    clips: Sequence[str] | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Score a set of predictions.

    Args:
        logits_BC: Scaled similarities `(rows, classes)`; their softmax is the confidence.
        labels_B: Class ids, int64 `(rows,)`.
        clips: Clip of each row, for resampling whole clips; None to resample rows.
        num_resamples: Number of resamples.
        seed: Seed of the resamples.

    Raises:
        ValueError: There are no rows, or the numbers of clips and rows differ.
    """
    if len(labels_B) == 0:
        raise ValueError("There are no predictions to score.")
    num_classes = logits_BC.shape[1]
    predicted_B = predict_classes(logits_BC)
    top1_B, top5_B = (find_top_k_hits(logits_BC, labels_B, k) for k in (1, 5))
    confidence_B = max_softmax(logits_BC)

    def score(weights_B: np.ndarray) -> tuple[np.ndarray, ClassScores, CalibrationBins]:
        classes = score_classes(labels_B, predicted_B, num_classes, weights_B)
        bins = sort_into_bins(confidence_B, top1_B, weights_B)
        accuracies = (hits_B @ weights_B / weights_B.sum() for hits_B in (top1_B, top5_B))
        values = (*accuracies, classes.mean_class_accuracy, classes.macro_f1, bins.expected_error)
        return np.array([*values, *bins.accuracy]), classes, bins

    groups = number_groups(len(labels_B), clips)  # (rows,)
    values, classes, bins = score(np.ones(len(labels_B)))
    low, high = bootstrap_interval(
        lambda weights_B: score(weights_B)[0], groups, num_resamples=num_resamples, seed=seed
    )
    intervals = {
        name: Interval(float(value), float(lowest), float(highest))
        for name, value, lowest, highest in zip(SCORE_NAMES, values, low, high, strict=False)
    }
    for name, (value, lowest, highest, _) in intervals.items():
        if name != "expected_calibration_error":  # not a proportion
            intervals[name] = make_interval(value, lowest, highest, int(groups.max()) + 1)
    return Scores(intervals, classes, bins, low[len(SCORE_NAMES) :], high[len(SCORE_NAMES) :])
