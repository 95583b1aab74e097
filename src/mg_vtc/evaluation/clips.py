"""Scores of one prediction per clip, as challenges score segments of videos."""

from typing import Any

import numpy as np
import torch

from ..inference.aggregation import VOTES, ClipVote
from .results import Predictions, describe_class_groups
from .scores import SCORE_NAMES, describe_interval, score_predictions


def score_clips(predictions: Predictions, vote: str) -> dict[str, Any]:
    """Score one prediction per clip.

    Args:
        predictions: Predictions of frames with known clips.
        vote: One of `VOTES` (see `ClipVote`).

    Returns:
        `vote`, `num_clips`, `scores` (top-1, top-5, mean class accuracy and macro F1, each with an interval over
        clips) and, if classes have groups, `class_groups` (see `score_class_groups`).

    Raises:
        ValueError: Clips are unknown, a clip has frames of several classes, or `vote` is not one of `VOTES`.
    """
    if vote not in VOTES:
        raise ValueError(f"vote must be one of {', '.join(VOTES)}, got {vote!r}.")
    if predictions.clips is None:
        raise ValueError(
            "The clips of these images are unknown, so their frames cannot be aggregated: name images "
            "<clip>.<frame>.<extension>, or list the clips in a metadata.csv."
        )
    clips = np.asarray(predictions.clips)
    probabilities_BC = torch.from_numpy(predictions.logits).double().softmax(dim=-1).numpy()  # (rows, classes)
    names, first_rows = np.unique(clips, return_index=True)
    ranks_GC = np.empty((len(names), probabilities_BC.shape[1]), dtype=np.float32)  # (clips, classes)
    for number, (name, first) in enumerate(zip(names, first_rows, strict=True)):
        rows = np.flatnonzero(clips == name)
        if len(set(predictions.labels[rows].tolist())) > 1:
            raise ValueError(
                f"The clip {str(name)!r} has frames of several classes, so it cannot be scored: relabel or split it."
            )
        ballot = ClipVote(vote, probabilities_BC.shape[1])
        for row in rows:
            ballot.add(probabilities_BC[row])
        order, _ = ballot.count()
        ranks_GC[number, order] = -np.arange(len(order))
        assert rows[0] == first
    voted = Predictions(
        ranks_GC, predictions.labels[first_rows], predictions.class_names, class_groups=predictions.class_groups
    )
    scores = score_predictions(ranks_GC, voted.labels).intervals
    return {
        "vote": vote,
        "num_clips": len(names),
        "scores": {name: describe_interval(scores[name]) for name in SCORE_NAMES[:4]},  # ranks are not calibrated
        **describe_class_groups(voted),
    }
