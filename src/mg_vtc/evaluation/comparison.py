"""Paired comparison of two models on the same images."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet

from .evaluate import PREDICTIONS
from .intervals import LEVEL, NUM_RESAMPLES, bootstrap_interval, number_groups
from .metrics import find_top_k_hits
from .predictions_table import digest_weights

NAMES = ("top1_accuracy", "top5_accuracy", "mean_class_accuracy")


class _Predictions(NamedTuple):
    """Predictions of an evaluation, sorted by digest and file name."""

    images: list[tuple[str, str]]
    clips: list[str] | None
    labels: list[str]
    class_names: list[str]
    probabilities: np.ndarray  # (num_rows, num_classes)


def compare(run_a: str | Path, run_b: str | Path) -> dict[str, Any]:
    """Compare two evaluated runs with the paired bootstrap: both are scored on the same resamples of clips.

    Args:
        run_a: Folder of a run scored by `mg-vtc evaluate`, folder of its report, or its `predictions.parquet`.
        run_b: Another run, evaluated on the same images.

    Returns:
        `num_images`, `resampled_by` (clip or image), `num_groups`, `num_resamples`, `level` and `scores`. `scores` has
        an entry for top-1, top-5 and mean class accuracy: the values `a` and `b`, their `difference` (b - a) with the
        bounds `low` and `high` (null if all resamples are equal, or there is one clip), and the number of images that
        only one run has right (`only_a`, `only_b`; null for mean class accuracy).

    Raises:
        FileNotFoundError: A run was not evaluated.
        ValueError: The runs were evaluated on different images, labels or classes.
    """
    first, second = (_read(Path(run)) for run in (run_a, run_b))
    _check_alike(first, second, run_a, run_b)
    names = first.class_names
    labels = np.array([names.index(label) for label in first.labels])  # (num_rows,)
    order = [second.class_names.index(name) for name in names]
    scores = [first.probabilities, second.probabilities[:, order]]
    hits = [[find_top_k_hits(of_run, labels, k) for of_run in scores] for k in (1, 5)]  # a pair of (num_rows,) a k
    groups = number_groups(len(labels), first.clips)  # (num_rows,)

    def differences(weights: np.ndarray) -> np.ndarray:
        a, b = (_score(labels, [of_k[run] for of_k in hits], weights) for run in (0, 1))
        return b - a

    low, high = bootstrap_interval(differences, groups)
    values = [_score(labels, [of_k[run] for of_k in hits], np.ones(len(labels))) for run in (0, 1)]
    result: dict[str, Any] = {"num_images": len(labels), "resampled_by": "image" if first.clips is None else "clip"}
    result |= {"num_groups": int(groups.max()) + 1, "num_resamples": NUM_RESAMPLES, "level": LEVEL, "scores": {}}
    for number, name in enumerate(NAMES):
        a, b = float(values[0][number]), float(values[1][number])
        # equal resamples of a few clips say nothing about others
        known = np.isfinite(low[number]) and (low[number] < high[number] or a == b)
        bounds = (float(low[number]), float(high[number])) if known else (None, None)
        only_a, only_b = None, None
        if number < len(hits):
            right_a, right_b = hits[number]
            only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        result["scores"][name] = {"a": a, "b": b, "difference": b - a, "low": bounds[0], "high": bounds[1]}
        result["scores"][name] |= {"only_a": only_a, "only_b": only_b}
    return result


def _score(labels: np.ndarray, hits: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return top-1, top-5 and mean class accuracy of weighted rows (3,)."""
    support = np.bincount(labels, weights)  # (num_classes,)
    recall = np.bincount(labels, weights * hits[0])[support > 0] / support[support > 0]
    return np.array([*(of_k @ weights / weights.sum() for of_k in hits), recall.mean()])


def _read(run: Path) -> _Predictions:
    candidates = (run, run / PREDICTIONS, run / "report" / PREDICTIONS)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None and (runs := sorted(one.parent.name for one in run.glob("*/config.json"))):
        raise FileNotFoundError(f"{run} holds several runs: pass one of {', '.join(runs)} in it.")
    if path is None:
        raise FileNotFoundError(
            f"{run} has no {PREDICTIONS}: run `mg-vtc evaluate {run} DATA` first, on the same images for both runs."
        )
    table = pyarrow.parquet.read_table(path)
    metadata = table.schema.metadata or {}
    names = metadata.get(b"class_names")
    if names is None or not {"file_name", "digest", "clip", "label", "probabilities"} <= set(table.column_names):
        raise ValueError(f"{path} is not a table of predictions written by `mg-vtc evaluate`.")
    models = [path.parent, *([path.parent.parent] if path.parent.name == "report" else [])]  # as evaluate writes it
    weights = next(filter(None, map(digest_weights, models)), None)
    if weights is not None and metadata.get(b"weights", weights.encode()) != weights.encode():
        raise ValueError(f"The model of {run} changed since it was evaluated: run `mg-vtc evaluate` again.")
    table = table.sort_by([("digest", "ascending"), ("file_name", "ascending")])
    clips = None if table["clip"].null_count else table["clip"].to_pylist()
    probabilities = np.stack(table["probabilities"].to_numpy())
    images = list(zip(table["digest"].to_pylist(), table["file_name"].to_pylist(), strict=True))
    return _Predictions(images, clips, table["label"].to_pylist(), json.loads(names), probabilities)


def _check_alike(first: _Predictions, second: _Predictions, run_a: str | Path, run_b: str | Path) -> None:
    digests = [[digest for digest, _ in of_run.images] for of_run in (first, second)]
    if digests[0] != digests[1]:
        shared = len(set(digests[0]) & set(digests[1]))
        raise ValueError(
            f"{run_a} was evaluated on {len(digests[0])} images and {run_b} on {len(digests[1])}, with {shared} in "
            "common: evaluate both on the same images, such as one split."
        )
    if set(first.class_names) != set(second.class_names):
        other = sorted(set(first.class_names) ^ set(second.class_names))
        raise ValueError(f"The runs have different classes: only one of them has {', '.join(other[:5])}.")
    if first.labels != second.labels:
        raise ValueError(
            "The same images have different labels in the two evaluations: evaluate both on the same data."
        )
