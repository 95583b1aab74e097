"""Scores of subsets of the images: closed forms, order, and the spread."""

import numpy as np
import pytest

from mg_vtc.evaluation.results import Predictions
from mg_vtc.evaluation.subsets import score_subsets


def predict(predicted: list[int], labels: list[int], clips: list[str] | None = None) -> Predictions:
    return Predictions(np.eye(3, dtype=np.float32)[predicted], np.array(labels), ["a", "b", "c"], clips=clips)


def test_each_value_is_scored_by_its_own_images():
    predictions = predict([0, 0, 1, 2], [0, 1, 1, 2], ["1", "2", "3", "3"])
    scored = score_subsets(predictions, "subject", ["10", "9", "10", "10"])
    nine, ten = scored["subsets"]
    assert (nine["value"], ten["value"]) == ("9", "10")  # numbers in their order
    assert (nine["num_images"], nine["num_clips"], nine["num_classes"]) == (1, 1, 1)
    assert (ten["num_images"], ten["num_clips"], ten["num_classes"]) == (3, 2, 3)
    assert (nine["top1_accuracy"]["value"], ten["top1_accuracy"]["value"]) == (0, 1)


def test_spread_counts_each_value_the_same():
    predictions = predict([0, 0, 0, 0, 1], [0, 0, 0, 0, 0])
    spread = score_subsets(predictions, "gender", ["f", "f", "f", "f", "m"])["top1_accuracy"]
    assert spread == {"mean": 0.5, "lowest": 0.0, "highest": 1.0, "standard_deviation": pytest.approx(np.sqrt(0.5))}


def test_one_value_has_no_deviation():
    assert score_subsets(predict([0], [0]), "gender", ["f"])["top1_accuracy"]["standard_deviation"] is None


def test_value_with_equal_resamples_has_an_exact_interval():
    score = score_subsets(predict([0] * 4, [0] * 4), "gender", ["f"] * 4)["subsets"][0]["top1_accuracy"]
    assert (score["method"], score["low"], score["high"]) == ("exact", pytest.approx(0.025 ** (1 / 4)), 1.0)
