"""One answer of a clip from the answers about its frames."""

import numpy as np

VOTES = ("mean", "max", "majority")


def rank_classes(probabilities: np.ndarray) -> np.ndarray:
    """Return the classes from the likeliest to the least, the lower id first where two are equal (num_classes,)."""
    return np.argsort(-probabilities, kind="stable")


class ClipVote:
    """Frames of one clip, of which only sums are kept.

    `mean`: the score of a class is the mean of its probabilities over the frames. `max`: the largest of them, so that
    scores do not add up to 1. `majority`: the share of the frames whose likeliest class it is. Classes of equal score
    are ranked by their mean probability, then by their id, the lower one first.

    Args:
        vote: One of `VOTES`.
        num_classes: How many classes there are.

    Attributes:
        num_frames: How many frames have been added.
    """

    def __init__(self, vote: str, num_classes: int) -> None:
        self.vote = vote
        self.num_frames = 0
        self._sum = np.zeros(num_classes)  # (num_classes,) here and below
        self._largest = np.zeros(num_classes)
        self._num_firsts = np.zeros(num_classes)

    def add(self, probabilities: np.ndarray) -> None:
        """Add a frame by the probabilities of its classes (num_classes,)."""
        self.num_frames += 1
        self._sum += probabilities
        np.maximum(self._largest, probabilities, out=self._largest)
        self._num_firsts[rank_classes(probabilities)[0]] += 1

    def count(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes from first to last, and the score of each class by its id; both (num_classes,)."""
        mean = self._sum / self.num_frames
        scores = {"mean": mean, "max": self._largest, "majority": self._num_firsts / self.num_frames}[self.vote]
        return np.lexsort((-mean, -scores)), scores  # the last key counts first, and equal ones stay in order
