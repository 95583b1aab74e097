"""Temperature scaling and the threshold below which a prediction is "none of these"."""

from typing import NamedTuple

import numpy as np

from .calibration import max_softmax
from .metrics import find_top_k_hits

RANGE = (0.01, 100.0)  # of temperatures
NUM_HALVINGS = 60  # of the range in a bisection: to the last digit
NUM_FOLDS = 5


class Coverage(NamedTuple):
    """Predictions that remain above a threshold, both fractions in [0, 1].

    Attributes:
        coverage: Fraction of all rows that remain.
        precision: Fraction of these that are correct; NaN if none remain.
    """

    coverage: float
    precision: float


class CoveragePoint(NamedTuple):
    """A point of the curve of accuracy against coverage, fractions in [0, 1].

    Attributes:
        coverage: Fraction of the rows with the highest confidences.
        accuracy: Fraction of these rows that are correct.
        threshold: Lowest confidence among them.
    """

    coverage: float
    accuracy: float
    threshold: float


class CrossFitted(NamedTuple):
    """Rows scored by a temperature and a threshold that were fitted on the other folds.

    Attributes:
        logits: Logits divided by the temperature of the other folds (rows, classes).
        kept: Whether each row reaches the threshold of the other folds, bool (rows,).
        num_folds: Number of folds.
    """

    logits: np.ndarray
    kept: np.ndarray
    num_folds: int


def cross_entropy(logits_BC: np.ndarray, labels_B: np.ndarray) -> float:
    """Return the mean negative logarithm of the softmax at the labels, in nats."""
    return float(-_log_softmax(logits_BC)[np.arange(len(labels_B)), labels_B].mean())


def fit_temperature(logits_BC: np.ndarray, labels_B: np.ndarray) -> float:
    """Return the temperature by which logits are divided for the lowest mean cross-entropy, within `RANGE`.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. The cross-entropy is convex in the
    inverse temperature. Its derivative, the mean of the expected logit minus the logit of the label, is bisected.

    Args:
        logits_BC: Logits (rows, classes).
        labels_B: Class ids (rows,).
    """
    logits_BC = logits_BC.astype(np.float64)
    own_B = logits_BC[np.arange(len(labels_B)), labels_B]
    low, high = np.log(RANGE)
    for _ in range(NUM_HALVINGS):
        middle = (low + high) / 2
        softmax_BC = np.exp(_log_softmax(logits_BC / np.exp(middle)))
        too_hot = ((softmax_BC * logits_BC).sum(axis=1) - own_B).mean() <= 0  # scores are too even
        low, high = (low, middle) if too_hot else (middle, high)
    return float(np.exp((low + high) / 2))


def _log_softmax(logits_BC: np.ndarray) -> np.ndarray:
    shifted_BC = logits_BC.astype(np.float64) - logits_BC.max(axis=1, keepdims=True)
    return shifted_BC - np.log(np.exp(shifted_BC).sum(axis=1, keepdims=True))


def choose_threshold(confidence_B: np.ndarray, correct_B: np.ndarray, precision: float) -> float | None:
    """Return the smallest threshold at which enough of the remaining predictions are correct; None if there is none.

    It lies halfway between the lowest confidence that remains and the next lower one, so that rounding changes
    nothing; it is 0 if all rows remain.

    Args:
        confidence_B: Confidences in [0, 1] (rows,).
        correct_B: Whether each prediction is correct (rows,).
        precision: Fraction of the remaining predictions that must be correct, in [0, 1].
    """
    order = np.argsort(-confidence_B, kind="stable")
    sorted_B = confidence_B[order]
    last_T = np.flatnonzero(np.append(np.diff(sorted_B) < 0, True))  # last row of each confidence (num_thresholds,)
    precision_T = np.cumsum(correct_B[order])[last_T] / (last_T + 1)
    reached = last_T[precision_T >= precision]
    if len(reached) == 0:
        return None
    return 0.0 if reached[-1] == len(order) - 1 else float(sorted_B[reached[-1] : reached[-1] + 2].mean())


def trace_coverage(confidence_B: np.ndarray, correct_B: np.ndarray, num_points: int = 100) -> list[CoveragePoint]:
    """Return the accuracy of the most confident rows, from few rows to all.

    El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 2010. Rows of equal
    confidence are in or out together.

    Args:
        confidence_B: Confidences in [0, 1] (rows,).
        correct_B: Whether each prediction is correct (rows,).
        num_points: Largest number of points; they are evenly spaced by coverage.
    """
    order = np.argsort(-confidence_B, kind="stable")
    sorted_B, num_correct_B = confidence_B[order], np.cumsum(correct_B[order])
    last_T = np.flatnonzero(np.append(np.diff(sorted_B) < 0, True))  # last row of each confidence (num_thresholds,)
    wanted = np.ceil(np.arange(1, num_points + 1) / num_points * len(order)).astype(int) - 1  # (num_points,)
    rows = np.unique(last_T[np.searchsorted(last_T, wanted)])  # at most (num_points,)
    return [
        CoveragePoint((row + 1) / len(order), float(num_correct_B[row]) / (row + 1), float(sorted_B[row]))
        for row in rows.tolist()
    ]


def measure_coverage(kept_B: np.ndarray, correct_B: np.ndarray) -> Coverage:
    """Return coverage and precision of the rows that are kept, bool (rows,)."""
    return Coverage(float(kept_B.mean()), float(correct_B[kept_B].mean()) if kept_B.any() else np.nan)


def cross_fit(
    logits_BC: np.ndarray, labels_B: np.ndarray, groups_B: np.ndarray, precision: float | None = None
) -> CrossFitted:
    """Fit temperature and threshold on all folds but one, and apply them to that one, for each fold in turn.

    Args:
        logits_BC: Logits (rows, classes).
        labels_B: Class ids (rows,).
        groups_B: Group number of each row from 0 without gaps, at least two groups; a group is in one fold (rows,).
        precision: See `choose_threshold`; None for no threshold. A fold without one keeps no row.
    """
    num_groups = int(groups_B.max()) + 1
    num_folds = min(NUM_FOLDS, num_groups)
    fold_B = (np.random.default_rng(0).permutation(num_groups) % num_folds)[groups_B]
    scaled_BC, kept_B = np.empty(logits_BC.shape), np.ones(len(labels_B), dtype=bool)
    correct_B = find_top_k_hits(logits_BC, labels_B, 1)
    for fold in range(num_folds):
        inside_B, others_B = fold_B == fold, fold_B != fold
        temperature = fit_temperature(logits_BC[others_B], labels_B[others_B])
        scaled_BC[inside_B] = logits_BC[inside_B] / temperature
        if precision is not None:
            others = max_softmax(logits_BC[others_B] / temperature)  # (num_others,)
            threshold = choose_threshold(others, correct_B[others_B], precision)
            kept_B[inside_B] = threshold is not None and max_softmax(scaled_BC[inside_B]) >= threshold
    return CrossFitted(scaled_BC, kept_B, num_folds)
