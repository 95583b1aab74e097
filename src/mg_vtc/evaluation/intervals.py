"""How sure a score is: bootstrap intervals, resampled by clip where the rows are frames of clips."""

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
    """Bias-corrected percentile interval of statistics of rows, by the (cluster) bootstrap.

    Whole groups are drawn with replacement, as many as there are (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapters 8 and 13). Frames of one clip are all but copies of each other: drawn one by one they
    would count as that much evidence, and the interval be too narrow. Resamples of a statistic that drops what a
    resample lacks, as a mean over classes does, lie to one side of its value; the percentiles are moved by twice the
    normal quantile of the share that lies below it (Efron, "Nonparametric standard errors and confidence intervals",
    1981).

    Args:
        statistic: Takes how often each row was drawn, float64 (num_rows,), and gives statistics (num_statistics,);
            NaN where a resample has no rows to compute one from, which is then left out of that one's interval.
        groups: Number of the group of each row, from 0 without gaps, int64 (num_rows,).
        level: Share of the resamples that the interval holds, in (0, 1).
        num_resamples: How many resamples are drawn.
        seed: The interval is a function of the rows and of this number.

    Returns:
        Lower and upper bounds, each float64 (num_statistics,); NaN where no resample gave a value, and for a single
        group, which tells nothing about others.
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
    """Which percentiles of the resamples are the bounds; a resample that is equal counts half as below."""
    normal = NormalDist()
    below = (np.mean(samples < value) + np.mean(samples <= value)) / 2
    half = 0.5 / len(samples)
    bias = normal.inv_cdf(float(np.clip(below, half, 1 - half)))
    return [100 * normal.cdf(2 * bias + normal.inv_cdf((1 + sign * level) / 2)) for sign in (-1, 1)]


def number_groups(num_rows: int, clips: Sequence[str] | None) -> np.ndarray:
    """Return what is resampled as a whole: the clip of each row or, where clips are not known, the row (num_rows,)."""
    if clips is None:
        return np.arange(num_rows)
    if len(clips) != num_rows:
        raise ValueError(f"There are {len(clips)} clips for {num_rows} rows: give the clip of every row.")
    return np.unique(np.asarray(clips), return_inverse=True)[1]


def exact_interval(share: float, num_groups: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Clopper-Pearson interval of a share of groups, for where resamples cannot differ and a bootstrap is no evidence.

    The bounds are the probabilities at which so many successes or more, or so many or fewer, come up in
    (1 - level) / 2 of all cases (Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the
    case of the binomial", 1934). Of n groups that are all right the lower one is ((1 - level) / 2) ** (1 / n). A share
    that is not one of whole groups, as where half of the frames of every clip are right, is rounded outwards.

    Args:
        share: In [0, 1].
        num_groups: How many clips there are or, where clips are not known, images; 1 or more.
        level: Probability that the interval holds the true share, at least.

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
    """Probability of so many successes or fewer of `num_groups`, each with the probability `p` in (0, 1)."""
    k = np.arange(successes + 1)
    choices = [math.lgamma(num_groups + 1) - math.lgamma(i + 1) - math.lgamma(num_groups - i + 1) for i in k]
    return float(np.exp(np.array(choices) + k * math.log(p) + (num_groups - k) * math.log1p(-p)).sum())


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Return where in (0, 1) a rising function has a value, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return (low + high) / 2
