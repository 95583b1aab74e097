"""All scores of a set: what the intervals are of, absent classes, and the interface of `evaluate`."""

import evaluate
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, top_k_accuracy_score

from mg_vtc import MicroGestureScores
from mg_vtc.evaluation.scores import SCORE_NAMES, score_predictions


def make_predictions(num_clips=30, num_frames=4, num_classes=8):
    """Logits whose errors are those of clips: frames of one are copies."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, num_classes, num_clips)
    logits = rng.normal(size=(num_clips, num_classes)).astype(np.float32)
    logits[np.arange(num_clips), labels] += 1
    clips = [f"clip {clip}" for clip in range(num_clips) for _ in range(num_frames)]
    return logits.repeat(num_frames, axis=0), labels.repeat(num_frames), clips


def test_scores_equal_scikit_learn():
    logits, labels, _ = make_predictions()
    predicted = logits.argmax(axis=1)
    values = {
        name: score.value for name, score in score_predictions(logits, labels, num_resamples=2).intervals.items()
    }
    assert values.pop("expected_calibration_error") > 0
    assert values == pytest.approx(
        {
            "top1_accuracy": (predicted == labels).mean(),
            "top5_accuracy": top_k_accuracy_score(labels, logits, k=5, labels=range(8)),
            "mean_class_accuracy": balanced_accuracy_score(labels, predicted),
            "macro_f1": f1_score(labels, predicted, average="macro"),
        }
    )


def test_intervals_hold_the_scores_and_are_wider_by_clip():
    logits, labels, clips = make_predictions()
    by_clip = score_predictions(logits, labels, clips, num_resamples=300).intervals
    by_image = score_predictions(logits, labels, num_resamples=300).intervals
    for name in ("top1_accuracy", "top5_accuracy", "mean_class_accuracy", "macro_f1"):
        assert by_clip[name].value == by_image[name].value
        assert by_clip[name].low <= by_image[name].low < by_clip[name].value < by_image[name].high
        assert by_clip[name].high - by_clip[name].low > 1.4 * (by_image[name].high - by_image[name].low)


def test_right_predictions_of_full_confidence_have_perfect_scores_and_exact_bounds():
    labels = np.arange(5).repeat(3)
    scores = score_predictions(1e4 * np.eye(5)[labels], labels, num_resamples=20)
    for name in SCORE_NAMES:
        expected = (
            (0, 0, 0, "bootstrap") if name == "expected_calibration_error" else (1, 0.025 ** (1 / 15), 1, "exact")
        )
        assert scores.intervals[name] == pytest.approx(expected)
    assert scores.bins.counts.tolist() == [0] * 14 + [15]
    assert (scores.bin_low[-1], scores.bin_high[-1]) == (1, 1)


def test_classes_without_rows_change_no_score_of_sure_predictions():
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    logits = 100 * np.eye(2)[[0, 1, 0, 0, 1, 1, 0, 1]]
    few = score_predictions(logits, labels, num_resamples=50)
    many = score_predictions(np.pad(logits, ((0, 0), (0, 20)), constant_values=-100), labels, num_resamples=50)
    assert many.classes.support.tolist() == [4, 4] + [0] * 20
    for name in SCORE_NAMES:
        if name != "top5_accuracy":  # of two classes, five are all
            assert many.intervals[name] == pytest.approx(few.intervals[name])


def test_predictions_of_nan_score_zero():
    scores = score_predictions(np.full((6, 4), np.nan), np.arange(6) % 4, num_resamples=5)
    assert {interval.value for interval in scores.intervals.values()} == {0}
    assert scores.intervals["top1_accuracy"][1:] == (0, pytest.approx(1 - 0.025 ** (1 / 6)), "exact")


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="no predictions"):
        score_predictions(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))


def test_metric_gives_the_same_through_the_interface_of_evaluate(tmp_path):
    logits, labels, clips = make_predictions()
    metric = MicroGestureScores(cache_dir=str(tmp_path))
    assert isinstance(metric, evaluate.Metric)
    for rows in (slice(0, 70), slice(70, None)):
        metric.add_batch(predictions=logits[rows], references=labels[rows])
    expected = score_predictions(logits, labels, clips).intervals
    assert metric.compute(clips=clips) == {name: pytest.approx(score._asdict()) for name, score in expected.items()}
