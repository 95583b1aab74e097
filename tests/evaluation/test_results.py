"""Results of an evaluation: every key that a report reads, and conditions that follow from what is known."""

import json

import numpy as np
import pytest

from mg_vtc.evaluation.results import Predictions, describe_results
from mg_vtc.evaluation.selection import ScoredSplit
from mg_vtc.runs.records import RunRecords

SPLIT = {"split_by": "frame", "seed": 7, "leakage": {"validation": {"same_bytes": 2}}}


@pytest.fixture
def describe():
    """Results of six predictions about three classes, the last without a row; four of them are right."""

    def build(
        split="validation", of_run=True, split_by="frame", train_labels=(1, 1, 0), clips=None, state=None, recipe=None
    ):
        labels = np.array([0, 0, 0, 1, 1, 0])
        logits = 3 * np.eye(3, dtype=np.float32)[[0, 0, 2, 1, 0, 0]]
        embeds = np.zeros((6, 4), dtype=np.float32)
        predictions = Predictions(
            logits, labels, ["a", "b", "c"], [f"a/{row}" for row in range(6)], clips, embeds, embeds[:3]
        )
        known = None if train_labels is None else np.array(train_labels)
        scored = ScoredSplit(split, of_run, split_by, num_training_rows=0, train_labels=known)
        records = RunRecords(SPLIT, state, recipe or {}, {})
        task = {"task": "image-classification", "prompt_template": "{}"}
        return describe_results("runs/mine", "images", predictions, scored, records, **task)

    return build


def test_results_are_json_with_the_keys_that_a_report_reads(describe):
    results = describe()
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert list(results) == [
        "model",
        "data",
        "conditions",
        "scores",
        "baselines",
        "classes",
        "calibration",
        "coverage",
        "confusion_matrix",
    ]
    assert {*results["conditions"]} == {
        *("split", "split_by", "frame_level_split", "seed", "num_images", "num_training_rows", "num_clips"),
        *("num_classes", "task", "prompt_template", "leakage", "chosen_on_these", "baselines_from", "interval"),
        *("versions", "training_rows_known"),
    }
    assert {*results["scores"]} == {
        *("top1_accuracy", "top5_accuracy", "mean_class_accuracy", "macro_f1", "expected_calibration_error")
    }
    assert all({*score} == {"value", "low", "high", "method"} for score in results["scores"].values())


def test_scores_in_closed_form(describe):
    results = describe()
    confidence = np.exp(3) / (np.exp(3) + 2)
    assert results["scores"]["top1_accuracy"]["value"] == pytest.approx(4 / 6)
    assert results["scores"]["mean_class_accuracy"]["value"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert results["scores"]["expected_calibration_error"]["value"] == pytest.approx(confidence - 4 / 6)
    first, _, last = results["classes"]
    assert first == {"name": "a", "precision": 0.75, "recall": 0.75, "f1": 0.75, "support": 4}
    assert last == {"name": "c", "precision": 0, "recall": None, "f1": None, "support": 0}


def test_bins_without_a_row_are_left_out(describe):
    (only,) = describe()["calibration"]
    assert only["count"] == 6
    assert only["accuracy"] == pytest.approx(4 / 6)
    assert only["confidence"] == pytest.approx(np.exp(3) / (np.exp(3) + 2))
    assert only["accuracy_low"] < only["accuracy"] < only["accuracy_high"]
    assert only["low"] < only["confidence"] <= only["high"]
    assert only["high"] - only["low"] == pytest.approx(1 / 15)


def test_bin_whose_predictions_are_all_right_or_all_wrong_has_no_interval():
    """Every resample says the same of it, however few its images are: that is no certainty."""
    logits = np.array([[9, 0], [9, 0], [9, 0], [1, 0], [1, 0], [1, 0]], dtype=np.float32)
    predictions = Predictions(logits, np.array([0, 0, 0, 0, 1, 1]), ["nod", "wave"])
    scored = ScoredSplit("all", False, None, 0, None)
    mixed, right = describe_results("a", "b", predictions, scored, RunRecords({}, None, {}, {}))["calibration"]
    assert (right["accuracy"], right["accuracy_low"], right["accuracy_high"]) == (1, None, None)
    assert mixed["accuracy_low"] < mixed["accuracy"] < mixed["accuracy_high"]


def test_baselines_are_the_most_frequent_of_training_or_else_of_the_scored_rows(describe):
    of_training, of_scored = describe(), describe(train_labels=None)
    assert of_training["conditions"]["baselines_from"] == "training rows"
    assert of_training["baselines"]["majority_class"] == {
        "top1_accuracy": pytest.approx(2 / 6),
        "top5_accuracy": None,
        "mean_class_accuracy": pytest.approx(1 / 2),  # of two classes with images
        "macro_f1": pytest.approx(1 / 4),  # of one, precision 1/3 and recall 1
    }
    assert of_scored["conditions"]["baselines_from"] == "scored rows"
    assert of_scored["baselines"]["majority_class"]["top1_accuracy"] == pytest.approx(4 / 6)
    assert of_scored["baselines"]["five_most_frequent"] == {"top1_accuracy": None, "top5_accuracy": 1}


def test_seed_and_leakage_are_those_of_the_runs_own_split(describe):
    own, other = describe()["conditions"], describe(split="test", of_run=False, split_by="given")["conditions"]
    assert (own["seed"], own["leakage"], own["frame_level_split"]) == (
        7,
        {"same_bytes": 2},
        False,
    )  # clips are not known
    assert (other["seed"], other["leakage"], other["frame_level_split"]) == (None, None, False)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"state": {"best_model_checkpoint": "checkpoint-3"}}, True),
        ({"state": {"best_model_checkpoint": None}}, False),
        ({"state": {"best_model_checkpoint": "checkpoint-3"}, "recipe": {"load_best_model_at_end": False}}, False),
        ({"state": None}, True),  # an exported classifier, of a run that did as runs do by default
        ({"state": {"best_model_checkpoint": "checkpoint-3"}, "split": "test", "split_by": "given"}, False),
        ({"state": {"best_model_checkpoint": "checkpoint-3"}, "of_run": False, "split_by": "given"}, False),
    ],
)
def test_checkpoint_was_chosen_on_the_runs_own_validation_rows_alone(describe, settings, expected):
    assert describe(**settings)["conditions"]["chosen_on_these"] is expected


def test_clips_are_counted_and_resampled_where_they_are_known(describe):
    known, unknown = describe(clips=["x", "x", "y", "y", "z", "z"])["conditions"], describe()["conditions"]
    assert (known["num_clips"], known["interval"]["resampled_by"]) == (3, "clip")
    assert (unknown["num_clips"], unknown["interval"]["resampled_by"]) == (None, "image")
