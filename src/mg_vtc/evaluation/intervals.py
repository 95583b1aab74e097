"""Confidence intervals of scores: bootstrap over clips or images, and exact binomial intervals."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
NUM_RESAMPLES = 2000


def bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    groups: np.ndarray,
    *,
    level: float = LEVEL,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute bias-corrected percentile intervals of statistics of rows with the cluster bootstrap.

    Whole groups are drawn with replacement, as many as there are (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapters 8 and 13). Frames of one clip are near duplicates: resampled one by one, they would make
    the interval too narrow. Resamples of a mean over the classes that are present lie to one side of its value.
    The percentiles are therefore shifted by twice the normal quantile of the fraction of resamples below the value
    (Efron, "Nonparametric standard errors and confidence intervals", 1981).

    Args:
        statistic: Function of the number of times each row was drawn, float64 (num_rows,), that returns statistics
            (num_statistics,). NaN excludes a resample from the interval of that statistic.
        groups: Group number of each row, from 0 without gaps, int64 (num_rows,).
        level: Confidence level in (0, 1).
        num_resamples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        Lower and upper bounds, each float64 (num_statistics,); NaN if no resample has a value, or if there is only one
        group.
    """
    rng = np.random.default_rng(seed)
    num_groups = int(groups.max()) + 1
    drawn = []
    for _ in range(num_resamples):
        counts = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)  # (num_groups,)
        drawn.append(statistic(counts.astype(np.float64)[groups]))
    samples = np.stack(drawn)  # (num_resamples, num_statistics)
    values = statistic(np.ones(len(groups)))  # (num_statistics,)
    bounds = np.full((2, samples.shape[1]), np.nan)
    for column in np.flatnonzero(~np.isnan(samples).all(axis=0)) if num_groups > 1 else ():
        known = samples[~np.isnan(samples[:, column]), column]
        bounds[:, column] = np.percentile(known, _percents(known, values[column], level))
    return bounds[0], bounds[1]


def _percents(samples: np.ndarray, value: float, level: float) -> list[float]:
    """Return the percentiles of the bounds; a resample equal to the value counts half as below it."""
    normal = NormalDist()
    below = (np.mean(samples < value) + np.mean(samples <= value)) / 2
    half = 0.5 / len(samples)
    bias = normal.inv_cdf(float(np.clip(below, half, 1 - half)))
    return [100 * normal.cdf(2 * bias + normal.inv_cdf((1 + sign * level) / 2)) for sign in (-1, 1)]


def number_groups(num_rows: int, clips: Sequence[str] | None) -> np.ndarray:
    """Number the groups to resample: the clip of each row or, if clips are unknown, the row itself (num_rows,)."""
    if clips is None:
        return np.arange(num_rows)
    if len(clips) != num_rows:
        raise ValueError(f"Got {len(clips)} clips for {num_rows} rows: pass the clip of every row.")
    return np.unique(np.asarray(clips), return_inverse=True)[1]


def exact_interval(share: float, num_groups: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Compute the Clopper-Pearson interval of a fraction of groups, for use if all bootstrap resamples are equal.

    At the lower bound, this many successes or more have a probability of (1 - level) / 2; at the upper bound, this
    many or fewer (Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", 1934). If all of n groups are correct, the lower bound is ((1 - level) / 2) ** (1 / n). A number of
    successes that is not whole, as with half of the frames of each clip correct, is rounded outwards.

    Args:
        share: Fraction in [0, 1].
        num_groups: Number of clips or, if clips are unknown, of images; 1 or more.
        level: Minimum coverage of the interval.

    Returns:
        Lower and upper bound, in [0, 1].
    """
    tail = (1 - level) / 2
    successes = share * num_groups
    fewest, most = math.floor(successes + 1e-9), math.ceil(successes - 1e-9)
    low = 0.0 if fewest == 0 else _solve(lambda p: 1 - _at_most(fewest - 1, num_groups, p), tail)
    high = 1.0 if most == num_groups else _solve(lambda p: -_at_most(most, num_groups, p), -tail)
    return low, high


def _at_most(successes: int, num_groups: int, p: float) -> float:
    """Return the binomial probability of at most `successes` in `num_groups` trials with probability `p` in (0, 1)."""
    k = np.arange(successes + 1)
    choices = [math.lgamma(num_groups + 1) - math.lgamma(i + 1) - math.lgamma(num_groups - i + 1) for i in k]
    return float(np.exp(np.array(choices) + k * math.log(p) + (num_groups - k) * math.log1p(-p)).sum())


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Find where in (0, 1) a rising function reaches a value, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2
