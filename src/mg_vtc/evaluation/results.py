"""Content of `results.json`: scores of an evaluation, its conditions and majority-class baselines."""

from typing import Any, NamedTuple

import numpy as np

from ..runs.provenance import library_versions
from ..runs.records import RunRecords
from .calibration import NUM_BINS, max_softmax, sort_into_bins
from .class_groups import score_class_groups
from .intervals import LEVEL, NUM_RESAMPLES
from .metrics import class_frequency_baselines, confusion_matrix, find_top_k_hits, predict_classes
from .scores import Scores, describe_interval, or_null, score_predictions
from .selection import ScoredSplit
from .temperature import CoveragePoint, measure_coverage, trace_coverage


class Predictions(NamedTuple):
    """Predictions of `num_rows` labelled images, with embeddings of images and classes.

    During training, file names and embeddings are None.

    Attributes:
        logits: Scaled similarities, float32 (num_rows, num_classes); their softmax is the model's confidence.
        labels: Class ids in the order of `class_names`, int64 (num_rows,).
        class_names: Class names in id order; some may have no images here.
        file_names: Name of each row, (num_rows,).
        clips: Clip of each row, (num_rows,); None if clips are unknown.
        image_embeds: Image embeddings, float32 (num_rows, projection_dim).
        text_embeds: Embeddings of the class prompts, float32 (num_classes, projection_dim).
        class_groups: Group of each class, (num_classes,); None if classes have no groups.
    """

    logits: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    file_names: list[str] | None = None
    clips: list[str] | None = None
    image_embeds: np.ndarray | None = None
    text_embeds: np.ndarray | None = None
    class_groups: list[str] | None = None


def describe_results(
    model: str, data: str, predictions: Predictions, scored: ScoredSplit, records: RunRecords, **how: Any
) -> dict[str, Any]:
    """Score predictions and describe the conditions of the evaluation.

    Args:
        model: Folder or Hub id of the model.
        data: Name of the data.
        predictions: Predictions of the model.
        scored: Origin of the scored rows.
        records: Records of the model's run.
        how: Further conditions: `task`, `prompt_template` and `num_texts`, the largest number of texts of a class.

    Returns:
        JSON values:

        - `model`, `data` and `conditions`.
        - `scores`: `value`, the bounds `low` and `high` (null for a single clip) and their `method` (bootstrap or
          exact). Macro F1 is the mean over the classes with images.
        - `baselines`.
        - `classes`: one row per class; null if undefined.
        - `class_groups`: scores of the groups of classes (see `score_class_groups`); missing without groups.
        - `calibration`: one row per non-empty bin, from low to high confidence.
        - `coverage`: accuracy of the most confident predictions, from few to all (see `trace_coverage`).
        - `confusion_matrix`: `counts` with a row per true class and a column per predicted class; images without a
          prediction (tied scores) are not counted.
    """
    return {
        "model": model,
        "data": data,
        "conditions": _describe_conditions(predictions, scored, records) | how,
        **_describe_scores(predictions, scored.train_labels),
        **describe_class_groups(predictions),
    }


def describe_class_groups(predictions: Predictions) -> dict[str, Any]:
    """Return `class_groups` (see `score_class_groups`), or nothing if classes have no groups."""
    if predictions.class_groups is None:
        return {}
    logits, labels, clips = predictions.logits, predictions.labels, predictions.clips
    return {"class_groups": score_class_groups(logits, labels, predictions.class_groups, clips)}


def chose_checkpoint(scored: ScoredSplit, records: RunRecords) -> bool:
    """Return whether the best checkpoint of a run was chosen on the scored rows."""
    # assume a best checkpoint if the state of the run is missing, as in an exported classifier
    has_best = records.state is None or records.state["best_model_checkpoint"] is not None
    kept_best = has_best and records.recipe.get("load_best_model_at_end", True)
    return scored.of_run and scored.split == "validation" and kept_best


def _describe_conditions(predictions: Predictions, scored: ScoredSplit, records: RunRecords) -> dict[str, Any]:
    return {
        "split": scored.split,
        "split_by": scored.split_by,
        "frame_level_split": scored.split_by == "frame" and predictions.clips is not None,
        "seed": records.split.get("seed") if scored.of_run and scored.split_by != "given" else None,
        "num_images": len(predictions.labels),
        "num_training_rows": scored.num_training_rows,
        "training_rows_known": bool(records.split),
        "num_clips": None if predictions.clips is None else len(set(predictions.clips)),
        "num_classes": len(predictions.class_names),
        "leakage": records.split.get("leakage", {}).get(scored.split) if scored.of_run else None,
        "chosen_on_these": chose_checkpoint(scored, records),
        "baselines_from": "scored rows" if scored.train_labels is None else "training rows",
        "interval": {
            "level": LEVEL,
            "resampled_by": "image" if predictions.clips is None else "clip",
            "num_resamples": NUM_RESAMPLES,
        },
        "versions": library_versions(),
    }


def _describe_scores(predictions: Predictions, train_labels: np.ndarray | None) -> dict[str, Any]:
    scores = score_predictions(predictions.logits, predictions.labels, predictions.clips)
    baselines = class_frequency_baselines(
        predictions.labels if train_labels is None else train_labels, predictions.labels
    )
    predicted = predict_classes(predictions.logits)  # (num_rows,)
    num_predicted = np.bincount(predicted + 1, minlength=len(predictions.class_names) + 1)[1:]  # (num_classes,)
    by_class = zip(
        predictions.class_names, *(column.tolist() for column in scores.classes), num_predicted, strict=True
    )
    return {
        "scores": {name: describe_interval(interval) for name, interval in scores.intervals.items()},
        "baselines": {
            "majority_class": {
                "top1_accuracy": baselines["baseline_majority_class_top1_accuracy"],
                "top5_accuracy": None,
                "mean_class_accuracy": baselines["baseline_majority_class_mean_class_accuracy"],
                "macro_f1": baselines["baseline_majority_class_macro_f1"],
            },
            "five_most_frequent": {
                "top1_accuracy": None,
                "top5_accuracy": baselines["baseline_five_most_frequent_top5_accuracy"],
            },
        },
        "classes": [
            {
                "name": name,
                "precision": precision if times else None,
                "recall": recall if support else None,
                "f1": f1 if support else None,
                "support": int(support),
            }
            for name, precision, recall, f1, support, times in by_class
        ],
        "calibration": _describe_bins(scores),
        "coverage": [point._asdict() for point in _trace_coverage(predictions)],
        "confusion_matrix": {
            "labels": predictions.class_names,
            "counts": confusion_matrix(predictions.labels, predicted, len(predictions.class_names)).tolist(),
        },
    }


def _trace_coverage(predictions: Predictions) -> list[CoveragePoint]:
    correct = find_top_k_hits(predictions.logits, predictions.labels, 1)  # (num_rows,)
    return trace_coverage(max_softmax(predictions.logits), correct)


def describe_temperature(
    predictions: Predictions, temperature: float, threshold: float | None, num_fitted: int
) -> dict[str, Any]:
    """Describe what the temperature and the threshold of a model do to its predictions.

    Args:
        predictions: Predictions of the model, with its temperature.
        temperature: `logit_temperature` of the model.
        threshold: `threshold` of the model; None without one.
        num_fitted: Number of the images that the temperature was fitted on.

    Returns:
        `temperature`, `num_fitted`, `expected_calibration_error_before` (of the temperature 1) and `threshold`: null,
        or its `value` with the `coverage` and the `precision` of the predictions that reach it.
    """
    correct = find_top_k_hits(predictions.logits, predictions.labels, 1)  # (num_rows,)
    before = sort_into_bins(max_softmax(predictions.logits * temperature), correct)
    about = None
    if threshold is not None:
        coverage, precision = measure_coverage(max_softmax(predictions.logits) >= threshold, correct)
        about = {"value": threshold, "coverage": coverage, "precision": or_null(precision)}
    return {
        "temperature": temperature,
        "num_fitted": num_fitted,
        "expected_calibration_error_before": before.expected_error,
        "threshold": about,
    }


def _describe_bins(scores: Scores) -> list[dict[str, Any]]:
    """Describe the non-empty bins; accuracies of 0 and 1 get no interval, as all resamples are equal."""
    columns = [*(column.tolist() for column in scores.bins), scores.bin_low.tolist(), scores.bin_high.tolist()]
    return [
        {
            "low": number / NUM_BINS,
            "high": (number + 1) / NUM_BINS,
            "confidence": confidence,
            "accuracy": accuracy,
            "accuracy_low": None if accuracy in (0, 1) else or_null(low),
            "accuracy_high": None if accuracy in (0, 1) else or_null(high),
            "count": int(count),
        }
        for number, (confidence, accuracy, count, low, high) in enumerate(zip(*columns, strict=True))
        if count > 0
    ]
