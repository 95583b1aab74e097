"""Scores of groups of classes, such as parts of the body, and the F1_mean of Micro-Action-52."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.class_lists import CLASS_LISTS
from ..data.folder_layout import find_labels_file
from ..data.image_folder import SPLIT_NAMES
from ..data.labels import fold_text, read_label_groups, shorten
from .intervals import bootstrap_interval, number_groups
from .metrics import ClassScores, find_top_k_hits, predict_classes, score_classes
from .scores import describe_interval, make_interval

GROUP_SCORES = {"f1_mean": "F1_mean", "group_accuracy": "group accuracy", "group_macro_f1": "group macro F1"}


def find_class_groups(class_names: Sequence[str], data: str, labels_file: str | None) -> list[str] | None:
    """Find the group of each class in the labels file of the data; without one, recognise Micro-Action-52 by name.

    Args:
        class_names: Class names of the model.
        data: Folder of images, or name of another data set; empty if unknown.
        labels_file: See `load_image_folder`; by default the `labels.csv` in the folder, if there is one.

    Returns:
        Group of each class, in the order of `class_names`; None if they are unknown.
    """
    keys = [fold_text(name) for name in class_names]  # of any model, so maybe not valid names
    try:
        source: str | Path | None = labels_file
        if source is None and data and Path(data).is_dir():
            source = _find_labels_file(Path(data))
        if source is None:
            source = next(
                (word for word in CLASS_LISTS if {*keys} == {*map(fold_text, CLASS_LISTS[word].names)}), None
            )
        groups = None if source is None else read_label_groups(source)
    except ValueError as error:  # a file beside Parquet files, which nothing else reads
        warnings.warn(f"Groups of classes are not scored: {error}", stacklevel=3)
        return None
    if groups is None:
        return None
    of_class = {fold_text(name): group for name, group in groups.items()}
    if missing := [name for name, key in zip(class_names, keys, strict=True) if key not in of_class]:
        warnings.warn(
            f"Groups of classes are not scored: {source} has none for {shorten(missing)}, which the model has.",
            stacklevel=3,
        )
        return None
    return [of_class[key] for key in keys]


def _find_labels_file(folder: Path) -> Path | None:
    """Find the labels file that `load_image_folder` reads: in the folder, or beside or in its splits."""
    splits = sorted(child for child in folder.iterdir() if child.name.lower() in SPLIT_NAMES)
    above = [folder.parent] if folder.resolve().name.lower() in SPLIT_NAMES else []
    return next((path for place in (folder, *splits, *above) if (path := find_labels_file(place))), None)


def score_class_groups(
    logits_BC: np.ndarray, labels_B: np.ndarray, class_groups: Sequence[str], clips: Sequence[str] | None = None
) -> dict[str, Any]:
    """Score the group of the predicted class, and compute F1_mean.

    The predicted group is that of the predicted class. F1_mean is the mean of micro F1 and macro F1 of the classes and
    of the groups (D. Guo et al., "Benchmarking Micro-action Recognition", IEEE TCSVT 2024; MAC challenge). As each row
    has one label and one prediction, micro F1 is the accuracy. Macro F1 is the mean over the classes with rows, so the
    value equals that of the challenge, which uses scikit-learn, if every predicted class has rows.

    Args:
        logits_BC: Scores `(rows, classes)`.
        labels_B: Class ids, int64 `(rows,)`.
        class_groups: Group of each class `(classes,)`.
        clips: Clip of each row, for resampling whole clips; None to resample rows.

    Returns:
        `scores`: `f1_mean`, `group_accuracy` (micro F1) and `group_macro_f1`, each with its interval; `groups`: name,
        number of classes, recall, F1 (null without rows) and support of each group, in the order of the classes.
    """
    names = list(dict.fromkeys(class_groups))
    group_of = np.array([names.index(group) for group in class_groups])  # (classes,)
    predicted_B = predict_classes(logits_BC)
    hits_B = find_top_k_hits(logits_BC, labels_B, 1)
    own_B, guessed_B = group_of[labels_B], np.where(predicted_B < 0, -1, group_of[predicted_B])

    def score(weights_B: np.ndarray) -> np.ndarray:
        classes = score_classes(labels_B, predicted_B, len(group_of), weights_B)
        groups = score_classes(own_B, guessed_B, len(names), weights_B)
        accuracy, group_accuracy = (hits @ weights_B / weights_B.sum() for hits in (hits_B, own_B == guessed_B))
        f1_mean = (accuracy + classes.macro_f1 + group_accuracy + groups.macro_f1) / 4
        return np.array([f1_mean, group_accuracy, groups.macro_f1])

    values = score(np.ones(len(labels_B)))
    drawn_B = number_groups(len(labels_B), clips)
    low, high = bootstrap_interval(score, drawn_B)
    num_drawn = int(drawn_B.max()) + 1
    scored = zip(GROUP_SCORES, values.tolist(), low.tolist(), high.tolist(), strict=True)
    return {
        "scores": {
            name: describe_interval(make_interval(value, lowest, highest, num_drawn))
            for name, value, lowest, highest in scored
        },
        "groups": _describe_groups(names, class_groups, score_classes(own_B, guessed_B, len(names))),
    }


def _describe_groups(names: list[str], class_groups: Sequence[str], scores: ClassScores) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "num_classes": list(class_groups).count(name),
            "recall": float(scores.recall[number]) if scores.support[number] else None,
            "f1": float(scores.f1[number]) if scores.support[number] else None,
            "support": int(scores.support[number]),
        }
        for number, name in enumerate(names)
    ]
