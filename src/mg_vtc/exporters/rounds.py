"""Speed on a shared machine: arrangements take turns, ratios are those of a round, and noise is refused.

The speed of a shared machine drifts by tens of percent within minutes, so times of different minutes are not
comparable. Here each round runs every arrangement once, each round in another order, and the ratio to the reference is
taken within the round. The spread of the ratios is their interquartile range over their median.
"""

import statistics
import time
from collections.abc import Callable

MAX_SPREAD = 0.20  # of measurements that are used
PATIENCE = 2  # times the asked rounds, before a noisy machine is given up


def measure_rounds(
    arrangements: dict[str, Callable[[], object]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of each arrangement in each round; the first of `arrangements` is the reference.

    Rounds are added, up to `PATIENCE` times as many, while a spread exceeds `MAX_SPREAD`.

    Args:
        arrangements: What to measure, by name.
        rounds: Number of rounds, at least.
        warm_up: Number of rounds before these, which are not measured.

    Raises:
        ValueError: The machine stays too noisy.
    """
    seconds: dict[str, list[float]] = {name: [] for name in arrangements}
    for number in range(warm_up + PATIENCE * rounds):
        turn = number % len(arrangements)
        for name in [*arrangements, *arrangements][turn : turn + len(arrangements)]:
            start = time.perf_counter()
            arrangements[name]()
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
        if number + 1 >= warm_up + rounds and max(spread(seconds, name) for name in seconds) <= MAX_SPREAD:
            return seconds
    noisiest = max(seconds, key=lambda name: spread(seconds, name))
    raise ValueError(
        f"The machine is too noisy to print a table: after {PATIENCE * rounds} rounds the spread of {noisiest!r} is "
        f"{spread(seconds, noisiest):.0%}, above {MAX_SPREAD:.0%}. Run it again when nothing else does."
    )


def speed_ratios(seconds: dict[str, list[float]], name: str) -> list[float]:
    """Return how many times as fast as the reference an arrangement is, round by round, for equal work."""
    reference = next(iter(seconds.values()))
    return [other / own for own, other in zip(seconds[name], reference, strict=True)]


def spread(seconds: dict[str, list[float]], name: str) -> float:
    """Return the interquartile range over the median of the ratios to the reference."""
    ratios = speed_ratios(seconds, name)
    if len(ratios) < 2:
        return 0.0
    first, median, third = statistics.quantiles(ratios, n=4, method="inclusive")
    return (third - first) / median
