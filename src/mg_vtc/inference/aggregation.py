"""Aggregation of frame predictions into one prediction per clip."""

import numpy as np

VOTES = ("mean", "max", "majority")


def rank_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return class ids by decreasing probability (num_classes,); ties go to the lower id."""
    return np.argsort(-probabilities, kind="stable")


class ClipVote:
    """Running aggregate of the frame predictions of one clip; memory does not grow with the number of frames.

    The score of a class is its `mean` probability over the frames, its `max` probability (these scores do not sum to
    1), or with `majority` the fraction of frames that predict it. Ties are broken by mean probability, then by the
    lower class id.

    Args:
        vote: One of `VOTES`.
        num_classes: Number of classes.

    Attributes:
        num_frames: Number of frames added so far.
    """

    def __init__(self, vote: str, num_classes: int) -> None:
        self.vote = vote
        self.num_frames = 0
        self._sum = np.zeros(num_classes)  # (num_classes,) here and below
        self._largest = np.zeros(num_classes)
        self._num_firsts = np.zeros(num_classes)

    def add(self, probabilities: np.ndarray) -> None:
        """Add the class probabilities of a frame (num_classes,)."""
        self.num_frames += 1
        self._sum += probabilities
        np.maximum(self._largest, probabilities, out=self._largest)
        self._num_firsts[rank_classes(probabilities)[0]] += 1

    def count(self) -> tuple[np.ndarray, np.ndarray]:
        """Return class ids by decreasing score, and the score of each class id; both (num_classes,)."""
        mean = self._sum / self.num_frames
        scores = {"mean": mean, "max": self._largest, "majority": self._num_firsts / self.num_frames}[self.vote]
        return np.lexsort((-mean, -scores)), scores  # the last key is the primary one; the sort is stable
