"""One prediction a clip: the mean of its frames outvotes a frame, and unknown clips have none."""

import numpy as np
import pytest

from mg_vtc.evaluation.clips import score_clips
from mg_vtc.evaluation.results import Predictions


def make(clips, labels=(0, 0, 0, 1, 1, 1)):
    logits = np.log(np.float32([[0.9, 0.1], [0.4, 0.6], [0.45, 0.55], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]))
    return Predictions(logits, np.array(labels), ["a", "b"], list("uvwxyz"), clips)


@pytest.mark.parametrize(("vote", "accuracy"), [("mean", 1.0), ("max", 1.0), ("majority", 0.5)])
def test_scores_are_those_of_the_votes(vote, accuracy):
    result = score_clips(make(["s", "s", "s", "t", "t", "t"]), vote)
    assert (result["vote"], result["num_clips"]) == (vote, 2)
    assert result["scores"]["top1_accuracy"]["value"] == accuracy
    assert "expected_calibration_error" not in result["scores"]


def test_single_frames_vote_as_images_score():
    assert score_clips(make(list("uvwxyz")), "mean")["scores"]["top1_accuracy"]["value"] == pytest.approx(3 / 6)


def test_clips_that_cannot_vote_are_refused():
    with pytest.raises(ValueError, match="clips of these images are unknown"):
        score_clips(make(None), "mean")
    with pytest.raises(ValueError, match="'s' has frames of several classes"):
        score_clips(make(["s"] * 6), "mean")
    with pytest.raises(ValueError, match="vote must be one of mean, max, majority"):
        score_clips(make(list("uvwxyz")), "median")
