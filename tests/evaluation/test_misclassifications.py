"""Claims about mistakes: which are found, in which order, and how they are counted."""

import numpy as np
from made_predictions import make_predictions

from mg_vtc.evaluation.misclassifications import count_predictions, find_misclassifications, list_confusions


def test_frames_of_a_clip_with_one_misclassification_are_shown_once():
    predictions = make_predictions(4, ["Folding arms", "Head up"])
    logits = np.array([[0, 3], [0, 5], [0, 4], [1, 0]], dtype=np.float32)
    predictions = predictions._replace(logits=logits, labels=np.zeros(4, dtype=int), clips=["a", "a", "b", "b"])
    assert [(mistake["row"], mistake["others"]) for mistake in find_misclassifications(predictions)] == [
        (1, 1),
        (2, 0),
    ]
    rows = [mistake["row"] for mistake in find_misclassifications(predictions._replace(clips=None))]
    assert rows == [1, 2, 0]


def test_predictions_are_counted_and_confusions_listed_by_number():
    predictions = make_predictions(5, ["a", "b", "c"])
    predictions = predictions._replace(
        labels=np.array([0, 0, 0, 1, 1]), logits=np.eye(3, dtype=np.float32)[[0, 2, 2, 0, 1]]
    )
    assert count_predictions(predictions).tolist() == [[1, 0, 2], [1, 1, 0], [0, 0, 0]]
    assert [tuple(pair.values()) for pair in list_confusions(predictions)] == [("a", "c", 2, 3), ("b", "a", 1, 2)]


def test_image_whose_classes_score_alike_has_no_prediction():
    """As in the scores: a tie is wrong, but no class is answered."""
    predictions = make_predictions(3, ["a", "b"])
    logits = np.array([[1, 1], [2, 0], [np.nan, 3]], dtype=np.float32)
    predictions = predictions._replace(labels=np.array([0, 1, 1]), logits=logits)
    assert count_predictions(predictions).tolist() == [[0, 0], [1, 1]]
    assert [mistake["row"] for mistake in find_misclassifications(predictions)] == [1]
    assert [tuple(pair.values()) for pair in list_confusions(predictions)] == [("b", "a", 1, 2)]
    all_tied = predictions._replace(logits=np.ones((3, 2), dtype=np.float32))
    assert find_misclassifications(all_tied) == list_confusions(all_tied) == []
