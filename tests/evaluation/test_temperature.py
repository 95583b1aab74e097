"""Temperature scaling and thresholds: closed forms, then scipy."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from mg_vtc.evaluation.calibration import max_softmax, sort_into_bins
from mg_vtc.evaluation.temperature import (
    Coverage,
    choose_threshold,
    cross_entropy,
    cross_fit,
    fit_temperature,
    measure_coverage,
    trace_coverage,
)


def draw(num_rows=400, factor=1.0, seed=0):
    """Logits times a factor, and labels drawn from the softmax of the logits without it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(num_rows, 5))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in softmax])
    return (factor * logits).astype(np.float32), labels


def test_logits_of_two_classes_have_their_temperature_in_closed_form():
    # 3 of 4 rows are right, each by 6: the best score is 3 / 4, whose logit is ln 3
    logits, labels = np.array([[6.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(6 / np.log(3), rel=1e-12)


def test_logits_times_three_have_three_times_the_temperature():
    logits, labels = draw()
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * fit_temperature(logits, labels), rel=1e-6)


def test_factor_of_drawn_logits_is_found_and_their_calibration_error_vanishes():
    logits, labels = draw(num_rows=40_000, factor=3.0)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(3, rel=0.02)
    correct = logits.argmax(axis=1) == labels
    assert sort_into_bins(max_softmax(logits), correct).expected_error > 0.1
    assert sort_into_bins(max_softmax(logits / temperature), correct).expected_error < 0.01


def test_temperature_is_the_minimum_that_scipy_finds():
    logits, labels = draw(factor=1.7, seed=1)
    found = minimize_scalar(lambda log: cross_entropy(logits / np.exp(log), labels), bounds=(-2, 3), method="bounded")
    assert fit_temperature(logits, labels) == pytest.approx(np.exp(found.x), rel=1e-4)


def test_bias_shared_by_all_classes_does_not_matter():
    logits, labels = draw()
    assert fit_temperature(logits - 40, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-5)


def test_temperature_of_perfect_and_of_hopeless_predictions_is_a_bound():
    logits = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, np.array([0, 1])) == pytest.approx(0.01)
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(100)


TABLE = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.array([True, True, False, True, False, False])


@pytest.mark.parametrize(
    ("precision", "threshold"), [(1.0, 0.75), (0.75, 0.55), (0.6, 0.45), (0.5, 0.0), (0.61, 0.55), (0.76, 0.75)]
)
def test_threshold_of_a_table_is_the_smallest_of_the_precision(precision, threshold):
    assert choose_threshold(*TABLE, precision) == pytest.approx(threshold)


def test_precision_that_no_threshold_reaches_has_none():
    assert choose_threshold(np.array([0.9, 0.8]), np.array([False, True]), 0.6) is None


def test_equal_confidences_stay_together():
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.1]), np.array([True, False, True, True])
    assert choose_threshold(confidence, correct, 0.9) is None
    assert choose_threshold(confidence, correct, 0.7) == 0


def test_coverage_is_the_share_that_remains_and_precision_its_accuracy():
    confidence, correct = TABLE
    assert measure_coverage(confidence >= 0.55, correct) == Coverage(4 / 6, 0.75)
    nothing = measure_coverage(confidence > 1, correct)
    assert nothing.coverage == 0
    assert np.isnan(nothing.precision)


def test_no_row_is_scored_by_a_temperature_that_its_group_has_fitted():
    logits, labels = draw(num_rows=60)
    groups = np.arange(60) // 3
    fitted = cross_fit(logits, labels, groups)
    ratios = (logits / fitted.logits)[:, 0]  # the temperature of each row
    assert fitted.num_folds == len(np.unique(ratios.round(6))) == 5
    for group in range(20):
        changed = labels.copy()
        changed[groups == group] = (changed[groups == group] + 1) % 5  # what a group says of itself
        others = cross_fit(logits, changed, groups)
        np.testing.assert_array_equal(others.logits[groups == group], fitted.logits[groups == group])


def test_thresholds_of_folds_keep_about_the_precision_and_no_row_where_there_is_none():
    logits, labels = draw(num_rows=4000)
    correct = logits.argmax(axis=1) == labels
    kept = cross_fit(logits, labels, np.arange(4000), precision=0.9).kept
    assert 0.87 < correct[kept].mean() < 0.93
    assert 0.1 < kept.mean() < 0.9
    wrong = np.array([[1.0, 0.0]] * 4)
    assert not cross_fit(wrong, np.ones(4, dtype=int), np.arange(4), precision=0.5).kept.any()


def test_curve_of_a_table_has_a_point_for_each_confidence_and_ends_with_all_rows():
    points = trace_coverage(*TABLE)
    np.testing.assert_allclose([point.coverage for point in points], np.arange(1, 7) / 6)
    np.testing.assert_allclose([point.accuracy for point in points], [1, 1, 2 / 3, 3 / 4, 3 / 5, 1 / 2])
    assert [point.threshold for point in points] == TABLE[0].tolist()


def test_curve_keeps_equal_confidences_together_and_is_as_short_as_wished():
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.1]), np.array([True, False, True, True])
    assert [point.coverage for point in trace_coverage(confidence, correct)] == [0.75, 1]
    rng = np.random.default_rng(0)
    points = trace_coverage(rng.random(5000), rng.random(5000) < 0.5, num_points=20)
    np.testing.assert_allclose([point.coverage for point in points], np.arange(1, 21) / 20)
