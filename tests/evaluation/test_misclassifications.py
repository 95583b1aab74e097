"""Claims about mistakes: which are found, in which order, and how they are counted."""

import numpy as np
from made_answers import make_answers

from mg_vtc.evaluation.misclassifications import count_answers, find_mistakes, list_confusions


def test_frames_of_a_clip_with_one_mistake_are_shown_once():
    answers = make_answers(4, ["Folding arms", "Head up"])
    logits = np.array([[0, 3], [0, 5], [0, 4], [1, 0]], dtype=np.float32)
    answers = answers._replace(logits=logits, labels=np.zeros(4, dtype=int), clips=["a", "a", "b", "b"])
    assert [(mistake["row"], mistake["others"]) for mistake in find_mistakes(answers)] == [(1, 1), (2, 0)]
    rows = [mistake["row"] for mistake in find_mistakes(answers._replace(clips=None))]
    assert rows == [1, 2, 0]


def test_answers_are_counted_and_confusions_listed_by_number():
    answers = make_answers(5, ["a", "b", "c"])
    answers = answers._replace(labels=np.array([0, 0, 0, 1, 1]), logits=np.eye(3, dtype=np.float32)[[0, 2, 2, 0, 1]])
    assert count_answers(answers).tolist() == [[1, 0, 2], [1, 1, 0], [0, 0, 0]]
    assert [tuple(pair.values()) for pair in list_confusions(answers)] == [("a", "c", 2, 3), ("b", "a", 1, 2)]


def test_picture_whose_classes_score_alike_has_no_answer():
    """As in the scores: a tie is wrong, but no class is answered."""
    answers = make_answers(3, ["a", "b"])
    logits = np.array([[1, 1], [2, 0], [np.nan, 3]], dtype=np.float32)
    answers = answers._replace(labels=np.array([0, 1, 1]), logits=logits)
    assert count_answers(answers).tolist() == [[0, 0], [1, 1]]
    assert [mistake["row"] for mistake in find_mistakes(answers)] == [1]
    assert [tuple(pair.values()) for pair in list_confusions(answers)] == [("b", "a", 1, 2)]
    all_tied = answers._replace(logits=np.ones((3, 2), dtype=np.float32))
    assert find_mistakes(all_tied) == list_confusions(all_tied) == []
