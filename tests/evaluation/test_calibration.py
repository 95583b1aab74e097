"""Calibration: closed forms, then torch and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve

from mg_vtc.evaluation.calibration import max_softmax, sort_into_bins


def test_confidence_is_the_largest_entry_of_the_softmax():
    scores = np.random.default_rng(0).normal(scale=30, size=(50, 7)).astype(np.float32)
    expected = torch.from_numpy(scores).double().softmax(1).amax(1)
    np.testing.assert_allclose(max_softmax(scores), expected)


def test_huge_scores_do_not_overflow_and_nan_has_no_share():
    scores = np.array([[1e30, 0, 0], [np.nan, 2, 2], [np.nan, np.nan, np.nan], [-np.inf, -np.inf, -np.inf]])
    assert max_softmax(scores).tolist() == [1, 0.5, 0, 0]


def test_predictions_that_are_as_often_right_as_they_say_have_no_error():
    assert sort_into_bins(np.full(10, 0.7), np.arange(10) < 7).expected_error == pytest.approx(0)


def test_error_is_the_mean_gap_over_the_rows():
    confidence = np.array([0.9, 0.9, 0.9, 0.3])
    correct = np.array([True, True, False, True])
    bins = sort_into_bins(confidence, correct)
    assert bins.expected_error == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * (1 - 0.3))
    assert bins.counts.sum() == 4


def test_bin_holds_its_upper_edge():
    bins = sort_into_bins(np.array([0.0, 0.5, 0.51, 1.0]), np.ones(4, dtype=bool), num_bins=2)
    assert bins.counts.tolist() == [2, 2]


def test_empty_bins_are_nan_and_add_no_error():
    bins = sort_into_bins(np.array([0.95]), np.array([True]), num_bins=10)
    assert np.isnan(bins.accuracy[:9]).all()
    assert np.isnan(bins.confidence[:9]).all()
    assert bins.expected_error == pytest.approx(0.05)


def test_weight_of_a_row_is_how_often_it_is_there():
    rng = np.random.default_rng(0)
    confidence, correct, weights = rng.random(60), rng.random(60) < 0.5, rng.integers(0, 4, 60)
    weighted = sort_into_bins(confidence, correct, weights.astype(float))
    repeated = sort_into_bins(confidence.repeat(weights), correct.repeat(weights))
    assert weighted.expected_error == pytest.approx(repeated.expected_error)
    np.testing.assert_allclose(weighted.accuracy, repeated.accuracy)


def test_bins_equal_scikit_learn():
    rng = np.random.default_rng(0)
    confidence = rng.random(300)
    correct = rng.random(300) < confidence
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=15)
    bins = sort_into_bins(confidence, correct)
    np.testing.assert_allclose(bins.accuracy, accuracy)
    np.testing.assert_allclose(bins.confidence, mean_confidence)
