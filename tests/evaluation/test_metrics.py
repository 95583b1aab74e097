"""Scores: closed forms, then scikit-learn, then the interface of `evaluate`."""

import evaluate
import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from mg_vtc.evaluation.metrics import TopKAccuracy, constant_answer_baselines, top_k_accuracy

SCORES = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])


@pytest.mark.parametrize(("k", "expected"), [(1, 1 / 3), (2, 2 / 3), (3, 1.0), (5, 1.0)])
def test_top_k_counts_rows_whose_class_is_among_the_k_highest(k, expected):
    assert top_k_accuracy(SCORES, np.array([0, 1, 2]), k) == pytest.approx(expected)


def test_equal_scores_are_no_hit():
    assert top_k_accuracy(np.zeros((4, 3)), np.array([0, 1, 2, 0]), 1) == 0


def test_nan_scores_are_no_hit():
    assert top_k_accuracy(np.full((2, 3), np.nan), np.array([0, 1]), 3) == 0


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_scikit_learn(k):
    rng = np.random.default_rng(k)
    scores, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    expected = top_k_accuracy_score(labels, scores, k=k, labels=np.arange(8))
    assert top_k_accuracy(scores, labels, k) == pytest.approx(expected)


def test_metric_gives_the_same_through_the_interface_of_evaluate(tmp_path):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 6)).astype(np.float32), rng.integers(0, 6, 50)
    metric = TopKAccuracy(cache_dir=str(tmp_path))
    assert isinstance(metric, evaluate.Metric)
    for start in (0, 25):
        metric.add_batch(predictions=scores[start : start + 25], references=labels[start : start + 25])
    assert metric.compute(k=3) == {"top3_accuracy": pytest.approx(top_k_accuracy(scores, labels, 3))}


def test_baselines_answer_with_the_commonest_classes_of_training():
    train = np.array([4] * 5 + [0] * 4 + [1] * 3 + [2] * 3 + [3] * 2 + [5])
    baselines = constant_answer_baselines(train, np.array([4, 4, 0, 5]))
    assert baselines["baseline_majority_class_top1_accuracy"] == 0.5
    assert baselines["baseline_five_commonest_top5_accuracy"] == 0.75


def test_baselines_bear_a_class_that_training_lacks():
    assert (
        constant_answer_baselines(np.array([0, 0]), np.array([3, 0]))["baseline_majority_class_top1_accuracy"] == 0.5
    )
