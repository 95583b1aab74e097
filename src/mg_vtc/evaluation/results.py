"""What an evaluation comes to: scores under their conditions and beside constant answers, as `results.json` has it."""

from typing import Any, NamedTuple

import numpy as np

from ..runs.provenance import library_versions
from ..runs.records import RunRecords
from .calibration import NUM_BINS
from .intervals import LEVEL, NUM_RESAMPLES
from .metrics import confusion_matrix, constant_answer_baselines, predict_classes
from .scores import Interval, Scores, score_answers
from .selection import ScoredPart


class Answers(NamedTuple):
    """Answers about `num_rows` labelled pictures, and the pictures' and classes' embeddings.

    A training keeps the answers alone: names and embeddings are then None.

    Attributes:
        logits: float32 (num_rows, num_classes), scaled similarities; their softmax is the model's confidence.
        labels: int64 (num_rows,), class ids in the order of `class_names`.
        class_names: Names of the classes, in id order; some may have no picture here.
        file_names: What identifies each row, (num_rows,).
        clips: The clip that each row is a frame of, (num_rows,); None where clips are not known.
        image_embeds: float32 (num_rows, projection_dim).
        text_embeds: float32 (num_classes, projection_dim), of the class prompts.
    """

    logits: np.ndarray
    labels: np.ndarray
    class_names: list[str]
    file_names: list[str] | None = None
    clips: list[str] | None = None
    image_embeds: np.ndarray | None = None
    text_embeds: np.ndarray | None = None


def describe_results(
    model: str, data: str, answers: Answers, scored: ScoredPart, records: RunRecords, **how: str
) -> dict[str, Any]:
    """Score the answers and say under which conditions.

    Args:
        model: Folder or Hub id of the model.
        data: What it was scored on.
        answers: What it answered.
        scored: Which rows these are.
        records: What the folder of the model's run tells.
        how: Further conditions: `task` and `prompt_template`.

    Returns:
        `model`, `data`, `conditions`, `scores` (each with `value`, the bounds `low` and `high`, null for a single
        clip, and their `method`, bootstrap or exact; macro F1 is the mean over classes that have images),
        `baselines`, `classes` (a row a class; null where undefined) and `calibration` (a row a bin that is not empty,
        from low to high confidence) and `confusion_matrix` (`counts`: a row a true class, a column a predicted one;
        images without a prediction, as of tied scores, are in no column). All of it is JSON.
    """
    return {
        "model": model,
        "data": data,
        "conditions": _describe_conditions(answers, scored, records) | how,
        **_describe_scores(answers, scored.train_labels),
    }


def _describe_conditions(answers: Answers, scored: ScoredPart, records: RunRecords) -> dict[str, Any]:
    is_own_validation = scored.of_run and scored.part == "validation"
    # without its state, as in an exported classifier, a run is taken to have found one
    has_best = records.state is None or records.state["best_model_checkpoint"] is not None
    kept_best = has_best and records.recipe.get("load_best_model_at_end", True)
    return {
        "part": scored.part,
        "split_by": scored.split_by,
        "leaky_by_design": scored.split_by == "frame" and answers.clips is not None,
        "seed": records.split.get("seed") if scored.of_run and scored.split_by != "given" else None,
        "num_pictures": len(answers.labels),
        "num_training_rows": scored.num_training_rows,
        "training_rows_known": bool(records.split),
        "num_clips": None if answers.clips is None else len(set(answers.clips)),
        "num_classes": len(answers.class_names),
        "leaks": records.split.get("leaks", {}).get(scored.part) if scored.of_run else None,
        "chosen_on_these": is_own_validation and kept_best,
        "baselines_from": "scored rows" if scored.train_labels is None else "training rows",
        "interval": {
            "level": LEVEL,
            "resampled_by": "picture" if answers.clips is None else "clip",
            "num_resamples": NUM_RESAMPLES,
        },
        "versions": library_versions(),
    }


def _describe_scores(answers: Answers, train_labels: np.ndarray | None) -> dict[str, Any]:
    scores = score_answers(answers.logits, answers.labels, answers.clips)
    baselines = constant_answer_baselines(answers.labels if train_labels is None else train_labels, answers.labels)
    predicted = predict_classes(answers.logits)  # (num_rows,)
    num_answers = np.bincount(predicted + 1, minlength=len(answers.class_names) + 1)[1:]  # (num_classes,)
    by_class = zip(answers.class_names, *(column.tolist() for column in scores.classes), num_answers, strict=True)
    return {
        "scores": {name: describe_interval(interval) for name, interval in scores.intervals.items()},
        "baselines": {
            "majority_class": {
                "top1_accuracy": baselines["baseline_majority_class_top1_accuracy"],
                "top5_accuracy": None,
                "mean_class_accuracy": baselines["baseline_majority_class_mean_class_accuracy"],
                "macro_f1": baselines["baseline_majority_class_macro_f1"],
            },
            "five_commonest": {
                "top1_accuracy": None,
                "top5_accuracy": baselines["baseline_five_commonest_top5_accuracy"],
            },
        },
        "classes": [
            {
                "name": name,
                "precision": precision if answered else None,
                "recall": recall if support else None,
                "f1": f1 if support else None,
                "support": int(support),
            }
            for name, precision, recall, f1, support, answered in by_class
        ],
        "calibration": _describe_bins(scores),
        "confusion_matrix": {
            "labels": answers.class_names,
            "counts": confusion_matrix(answers.labels, predicted, len(answers.class_names)).tolist(),
        },
    }


def describe_interval(interval: Interval) -> dict[str, Any]:
    """The value of a score, the bounds of its interval, null where it has none, and their method."""
    bounds = {name: _or_null(number) for name, number in zip(interval._fields[:3], interval[:3], strict=True)}
    return bounds | {"method": interval.method}


def _or_null(number: float) -> float | None:
    """JSON has no NaN, which a bound is where there is no interval."""
    return None if np.isnan(number) else number


def _describe_bins(scores: Scores) -> list[dict[str, Any]]:
    """The bins that have a row, from low to high confidence: their bounds, and the accuracy with its interval.

    Where answers are all right or all wrong there is none: resamples can not differ, however few the pictures are.
    """
    columns = [*(column.tolist() for column in scores.bins), scores.bin_low.tolist(), scores.bin_high.tolist()]
    return [
        {
            "low": number / NUM_BINS,
            "high": (number + 1) / NUM_BINS,
            "confidence": confidence,
            "accuracy": accuracy,
            "accuracy_low": None if accuracy in (0, 1) else _or_null(low),
            "accuracy_high": None if accuracy in (0, 1) else _or_null(high),
            "count": int(count),
        }
        for number, (confidence, accuracy, count, low, high) in enumerate(zip(*columns, strict=True))
        if count > 0
    ]
