"""How sure a score is: bootstrap intervals, resampled by clip where the rows are frames of clips."""

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
