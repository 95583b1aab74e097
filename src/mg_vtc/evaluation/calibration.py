"""Calibration of a classifier: confidence compared with accuracy."""

from typing import NamedTuple

import numpy as np

NUM_BINS = 15  # as in Guo et al., 2017


class CalibrationBins(NamedTuple):
    """Bins of a reliability diagram; bin m of M holds the confidences in ((m - 1) / M, m / M].

    Attributes:
        confidence: Mean confidence of the rows in each bin (num_bins,); NaN in an empty bin.
        accuracy: Fraction of correct rows in each bin (num_bins,); NaN in an empty bin.
        counts: Number of rows in each bin, or the sum of their weights (num_bins,).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error in [0, 1]: mean gap between accuracy and confidence over the rows.

        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
        """
        filled = self.counts > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]  # (num_filled,)
        return float(gaps @ self.counts[filled] / self.counts.sum())


def max_softmax(scores_BC: np.ndarray) -> np.ndarray:
    """Return the confidence of each row in [0, 1]: the maximum of the softmax of its scores (rows,).

    NaN scores are ignored; a row of NaN only has confidence 0.
    """
    scores_BC = np.where(np.isnan(scores_BC), -np.inf, scores_BC).astype(np.float64)
    highest_B1 = scores_BC.max(axis=1, keepdims=True)
    none_B = np.isneginf(highest_B1[:, 0])
    shifted_BC = scores_BC - np.where(none_B[:, None], 0, highest_B1)
    sum_B = np.exp(shifted_BC).sum(axis=1)
    return np.where(none_B, 0, 1 / np.where(none_B, 1, sum_B))


def sort_into_bins(
    confidence_B: np.ndarray, correct_B: np.ndarray, weights_B: np.ndarray | None = None, num_bins: int = NUM_BINS
) -> CalibrationBins:
    """Sort predictions into bins of equal width by confidence.

    Args:
        confidence_B: Confidences in [0, 1] (rows,).
        correct_B: Whether each prediction is correct (rows,).
        weights_B: Weight of each row (rows,); 1 by default.
        num_bins: Number of bins.
    """
    weights_B = np.ones(len(confidence_B)) if weights_B is None else weights_B
    bin_B = np.clip(np.ceil(confidence_B * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    counts = np.bincount(bin_B, weights_B, num_bins)  # (num_bins,)
    with np.errstate(invalid="ignore"):  # 0 / 0, in an empty bin
        confidence = np.bincount(bin_B, weights_B * confidence_B, num_bins) / counts
        accuracy = np.bincount(bin_B, weights_B * correct_B, num_bins) / counts
    return CalibrationBins(confidence, accuracy, counts)
