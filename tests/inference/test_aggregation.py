"""Votes of frames: closed forms, and scikit-learn as the oracle."""

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier

from mg_vtc.inference.aggregation import ClipVote, rank_classes

FRAMES = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.45, 0.35, 0.2], [0.0, 0.1, 0.9]])  # (4 frames, 3 classes)


def vote(how, frames):
    ballot = ClipVote(how, len(frames[0]))
    for frame in frames:
        ballot.add(np.asarray(frame, dtype=np.float32))
    assert ballot.num_frames == len(frames)
    order, scores = ballot.count()
    return order.tolist(), scores


def test_mean_is_that_of_the_probabilities():
    order, scores = vote("mean", FRAMES)
    assert scores == pytest.approx([0.2625, 0.3375, 0.4])
    assert order == [2, 1, 0]


def test_max_is_the_largest_probability_of_each_class():
    order, scores = vote("max", FRAMES)
    assert scores == pytest.approx([0.5, 0.6, 0.9])
    assert order == [2, 1, 0]


def test_majority_counts_first_places():
    order, scores = vote("majority", FRAMES)
    assert scores.tolist() == [0.5, 0.25, 0.25]
    assert order == [0, 2, 1]  # equal shares by their means, 0.4 and 0.3375


def test_classes_equal_in_all_are_ranked_by_their_ids():
    for how in ("mean", "max", "majority"):
        assert vote(how, [[0.25, 0.25, 0.25, 0.25]])[0] == [0, 1, 2, 3]
    assert vote("majority", [[0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])[0] == [1, 2, 0]
    assert rank_classes(np.array([0.3, 0.4, 0.3])).tolist() == [1, 0, 2]


def test_a_single_frame_is_its_own_mean_and_max():
    for how in ("mean", "max"):
        order, scores = vote(how, FRAMES[:1])
        assert scores == pytest.approx(FRAMES[0])
        assert order == rank_classes(FRAMES[0]).tolist()


@pytest.mark.parametrize(("how", "voting"), [("mean", "soft"), ("majority", "hard")])
def test_winner_is_that_of_scikit_learn(how, voting):
    class Frame:  # a classifier that gives one row of probabilities
        def __init__(self, row):
            self.row = row

        def predict(self, X):
            return np.array([self.row.argmax()])

        def predict_proba(self, X):
            return self.row[None]

    rng = np.random.default_rng(0)
    for _ in range(50):
        frames = rng.dirichlet(np.ones(4), size=7)
        oracle = VotingClassifier([(str(number), None) for number in range(7)], voting=voting)
        oracle.estimators_ = [Frame(row) for row in frames]
        oracle.le_ = type("Labels", (), {"inverse_transform": staticmethod(lambda ids: ids), "classes_": range(4)})
        order, scores = vote(how, frames)
        counts = np.bincount(frames.argmax(axis=1), minlength=4)
        if how == "mean" or (counts == counts.max()).sum() == 1:  # scikit-learn breaks ties otherwise
            assert order[0] == oracle.predict(np.zeros((1, 1)))[0]
        assert scores[order[0]] == scores.max()
