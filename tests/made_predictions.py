"""Predictions of a made-up model, and the results that go with them, for the tests of what is drawn of them."""

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from mg_vtc.evaluation.calibration import max_softmax
from mg_vtc.evaluation.results import Predictions
from mg_vtc.evaluation.temperature import trace_coverage


def make_predictions(num_rows, class_names, *, num_absent=0, noise=0.25, seed=0):
    """Images around the texts of their classes; of the last classes there is none. Two rows are a clip."""
    rng = np.random.default_rng(seed)
    text_embeds = rng.normal(size=(len(class_names), 8))
    text_embeds /= np.linalg.norm(text_embeds, axis=1, keepdims=True)
    labels = np.sort(rng.integers(len(class_names) - num_absent, size=num_rows))
    image_embeds = text_embeds[labels] + noise * rng.normal(size=(num_rows, 8))
    image_embeds /= np.linalg.norm(image_embeds, axis=1, keepdims=True)
    return Predictions(
        logits=(10 * image_embeds @ text_embeds.T).astype(np.float32),
        labels=labels,
        class_names=list(class_names),
        file_names=[f"{label}/{row:04d}.jpg" for row, label in enumerate(labels)],
        clips=[f"clip {row // 2}" for row in range(num_rows)],
        image_embeds=image_embeds.astype(np.float32),
        text_embeds=text_embeds.astype(np.float32),
    )


def make_classes(predictions):
    """Precision, recall, F1 and support of each class, by scikit-learn."""
    table = precision_recall_fscore_support(
        predictions.labels,
        predictions.logits.argmax(axis=1),
        labels=range(len(predictions.class_names)),
        zero_division=np.nan,
    )
    scores = [[None if np.isnan(value) else float(value) for value in column] for column in table[:3]]
    return [
        {"name": name, "precision": precision, "recall": recall, "f1": f1, "support": int(support)}
        for name, precision, recall, f1, support in zip(predictions.class_names, *scores, table[3], strict=True)
    ]


def make_calibration(predictions, num_bins=10):
    """Bins of confidence of one width; empty ones hold None."""
    exp = np.exp(predictions.logits - predictions.logits.max(axis=1, keepdims=True))
    confidence = (exp / exp.sum(axis=1, keepdims=True)).max(axis=1)
    right = predictions.logits.argmax(axis=1) == predictions.labels
    number = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    bins = []
    for one in range(num_bins):
        rows = number == one
        bins.append({"low": one / num_bins, "high": (one + 1) / num_bins, "count": int(rows.sum())})
        for name, values in (("confidence", confidence), ("accuracy", right)):
            bins[-1][name] = float(values[rows].mean()) if rows.any() else None
        accuracy = bins[-1]["accuracy"]
        bins[-1] |= {"accuracy_low": accuracy and accuracy / 2, "accuracy_high": accuracy and (accuracy + 1) / 2}
    return bins


def make_coverage(predictions):
    """The curve of accuracy against coverage."""
    right = predictions.logits.argmax(axis=1) == predictions.labels
    return [point._asdict() for point in trace_coverage(max_softmax(predictions.logits), right)]


def make_results(predictions, **conditions):
    """Results in the shape of `results.json`; the scores are five numbers that are found again on a page."""
    names = ("top1_accuracy", "top5_accuracy", "mean_class_accuracy", "macro_f1", "expected_calibration_error")
    return {
        "model": "runs/mine",
        "data": "images of mine",
        "conditions": {
            "split": "validation",
            "split_by": "clip",
            "frame_level_split": False,
            "seed": 0,
            "num_images": len(predictions.labels),
            "num_training_rows": 0,
            "training_rows_known": True,
            "num_clips": None if predictions.clips is None else len(set(predictions.clips)),
            "num_classes": len(predictions.class_names),
            "task": "zero-shot-image-classification",
            "prompt_template": "a person who is {}",
            "leakage": {"same_clip": 0, "same_bytes": 0, "near_duplicate": 0},
            "chosen_on_these": False,
            "interval": {"level": 0.95, "resampled_by": "clip", "num_resamples": 2000},
            "versions": {"mg_vtc": "1.2.3", "torch": "4.5.6"},
        }
        | conditions,
        "scores": {
            name: {"value": 0.9 - 0.111 * k, "low": 0.8 - 0.111 * k, "high": 0.95 - 0.111 * k, "method": "bootstrap"}
            for k, name in enumerate(names)
        },
        "baselines": {
            "majority_class": {"top1_accuracy": 0.0694, "top5_accuracy": None},
            "five_most_frequent": {"top1_accuracy": None, "top5_accuracy": 0.2312},
        },
        "classes": make_classes(predictions),
        "calibration": make_calibration(predictions),
        "coverage": make_coverage(predictions),
    }
