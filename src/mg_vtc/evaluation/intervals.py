"""How sure a score is: bootstrap intervals, resampled by clip where the rows are frames of clips."""

from collections.abc import Callable, Sequence

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
    """Percentile interval of statistics of rows, by the (cluster) bootstrap.

    Whole groups are drawn with replacement, as many as there are (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapters 8 and 13). Frames of one clip are all but copies of each other: drawn one by one they
    would count as that much evidence, and the interval be too narrow.

    Args:
        statistic: Takes how often each row was drawn, float64 (num_rows,), and gives statistics (num_statistics,);
            NaN where a resample has no rows to compute one from, which is then left out of that one's interval.
        groups: Number of the group of each row, from 0 without gaps, int64 (num_rows,).
        level: Share of the resamples that the interval holds, in (0, 1).
        num_resamples: How many resamples are drawn.
        seed: The interval is a function of the rows and of this number.

    Returns:
        Lower and upper bounds, each float64 (num_statistics,); NaN where no resample gave a value.
    """
    rng = np.random.default_rng(seed)
    num_groups = int(groups.max()) + 1
    drawn = []
    for _ in range(num_resamples):
        counts = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)  # (num_groups,)
        drawn.append(statistic(counts.astype(np.float64)[groups]))
    samples = np.stack(drawn)  # (num_resamples, num_statistics)
    bounds = np.full((2, samples.shape[1]), np.nan)
    known = ~np.isnan(samples).all(axis=0)  # (num_statistics,)
    tails = [50 * (1 - level), 50 * (1 + level)]  # percent
    bounds[:, known] = np.nanpercentile(samples[:, known], tails, axis=0)
    return bounds[0], bounds[1]


def number_groups(num_rows: int, clips: Sequence[str] | None) -> np.ndarray:
    """Return what is resampled as a whole: the clip of each row or, where clips are not known, the row (num_rows,)."""
    if clips is None:
        return np.arange(num_rows)
    if len(clips) != num_rows:
        raise ValueError(f"There are {len(clips)} clips for {num_rows} rows: give the clip of every row.")
    return np.unique(np.asarray(clips), return_inverse=True)[1]
