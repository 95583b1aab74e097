"""Scores: closed forms, then scikit-learn, then the interface of `evaluate`."""

import evaluate
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support, top_k_accuracy_score
from transformers import EvalPrediction

from mg_vtc.evaluation.metrics import (
    TopKAccuracy,
    class_frequency_baselines,
    predict_classes,
    score_classes,
    score_top_k,
    top_k_accuracy,
)

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


def test_baselines_prediction_with_the_most_frequent_classes_of_training():
    train = np.array([4] * 5 + [0] * 4 + [1] * 3 + [2] * 3 + [3] * 2 + [5])
    baselines = class_frequency_baselines(train, np.array([4, 4, 0, 5]))
    assert baselines["baseline_majority_class_top1_accuracy"] == 0.5
    assert baselines["baseline_five_most_frequent_top5_accuracy"] == 0.75


def test_baseline_has_closed_forms_of_mean_class_accuracy_and_macro_f1():
    """Of 4 rows in 3 classes, 2 are right: recall 1, precision 1/2 and F1 2/3 of one class, 0 of the others."""
    baselines = class_frequency_baselines(np.array([4, 4, 0]), np.array([4, 4, 0, 5]))
    assert baselines["baseline_majority_class_mean_class_accuracy"] == pytest.approx(1 / 3)
    assert baselines["baseline_majority_class_macro_f1"] == pytest.approx(2 / 9)
    absent = class_frequency_baselines(np.array([7]), np.array([4, 0]))
    assert absent["baseline_majority_class_mean_class_accuracy"] == absent["baseline_majority_class_macro_f1"] == 0


def test_baselines_bear_a_class_that_training_lacks():
    assert (
        class_frequency_baselines(np.array([0, 0]), np.array([3, 0]))["baseline_majority_class_top1_accuracy"] == 0.5
    )


def test_row_is_predicted_with_its_one_highest_score():
    scores = np.array([[0.1, 0.7], [0.5, 0.5], [np.nan, 0.2], [np.nan, np.nan], [-np.inf, -np.inf]])
    assert predict_classes(scores).tolist() == [1, -1, 1, -1, -1]


def test_row_is_predicted_with_its_class_exactly_where_top_1_counts_a_hit():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 4, (500, 5)).astype(np.float32), rng.integers(0, 5, 500)  # many ties
    scores[rng.random(scores.shape) < 0.2] = np.nan
    hits = predict_classes(scores) == labels
    assert 0 < hits.sum() < 500
    assert [top_k_accuracy(scores[[row]], labels[[row]], 1) for row in range(500)] == hits.tolist()


def test_scores_of_classes_in_closed_form():
    scores = score_classes(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 2)
    assert scores.precision.tolist() == [1, 0.5]
    assert scores.recall.tolist() == pytest.approx([2 / 3, 1])
    assert scores.f1.tolist() == pytest.approx([0.8, 2 / 3])
    assert scores.support.tolist() == [3, 1]
    assert scores.mean_class_accuracy == pytest.approx(5 / 6)


def test_class_without_rows_is_in_no_mean_even_if_it_is_predicted():
    few = score_classes(np.array([0, 1]), np.array([0, 2]), 3)
    assert few.mean_class_accuracy == few.macro_f1 == 0.5
    more = score_classes(np.array([0, 1]), np.array([0, 2]), 30)
    assert (more.mean_class_accuracy, more.macro_f1) == (few.mean_class_accuracy, few.macro_f1)
    assert more.precision[2] == more.recall[2] == more.f1[2] == 0


def test_row_without_prediction_counts_against_its_class_and_for_no_other():
    scores = score_classes(np.array([0, 1]), np.array([-1, 1]), 2)
    assert scores.recall.tolist() == [0, 1]
    assert scores.precision.tolist() == [0, 1]


def test_weight_of_a_row_is_how_often_it_is_there():
    rng = np.random.default_rng(0)
    labels, predicted, weights = rng.integers(0, 5, 60), rng.integers(-1, 5, 60), rng.integers(0, 4, 60)
    weighted = score_classes(labels, predicted, 5, weights.astype(float))
    repeated = score_classes(labels.repeat(weights), predicted.repeat(weights), 5)
    for one, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(one, other)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_classes_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 6, 80), rng.integers(0, 8, 80)  # two classes are only predicted, two nothing
    expected = precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=0)
    scores = score_classes(labels, predicted, 10)
    for one, other in zip(scores, expected, strict=True):
        np.testing.assert_allclose(one, other)
    present = np.unique(labels)
    assert scores.macro_f1 == pytest.approx(f1_score(labels, predicted, labels=present, average="macro"))


def test_mean_class_accuracy_equals_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.choice([0, 2, 3], 90), rng.choice([0, 2, 3], 90)
    expected = balanced_accuracy_score(labels, predicted)
    assert score_classes(labels, predicted, 4).mean_class_accuracy == pytest.approx(expected)


def test_trainer_is_given_means_over_classes_too():
    scores = score_top_k(EvalPrediction(SCORES, np.array([0, 0, 0])))
    assert scores == pytest.approx(
        {"top1_accuracy": 2 / 3, "top5_accuracy": 1, "mean_class_accuracy": 2 / 3, "macro_f1": 0.8}
    )
