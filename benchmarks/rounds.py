"""How benchmarks measure: arrangements take turns, ratios are those of a round, a noisy machine prints nothing.

The speed of a shared machine drifts by tens of percent within minutes, so times of different minutes are not
comparable. Here each round runs every arrangement once, each round in another order, and the ratio to the reference is
taken within the round. What is printed is the median over the rounds, beside the spread of the ratios: their
interquartile range over their median.
"""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

MAX_SPREAD = 0.20  # of a table that is printed
PATIENCE = 2  # times the asked rounds, before a noisy machine is given up


def measure_rounds(
    arrangements: dict[str, Callable[[], object]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each arrangement in each round, in order of the rounds; the first of `arrangements` is the reference.

    Rounds are added, up to `PATIENCE` times as many, while a spread exceeds `MAX_SPREAD`.

    Raises:
        SystemExit: The machine stays too noisy.
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
    sys.exit(
        f"The machine is too noisy to print a table: after {PATIENCE * rounds} rounds the spread of {noisiest!r} is "
        f"{spread(seconds, noisiest):.0%}, above {MAX_SPREAD:.0%}. Run it again when nothing else does."
    )


def speed_ratios(seconds: dict[str, list[float]], name: str) -> list[float]:
    """How many times as fast as the reference, round by round, for equal work."""
    reference = next(iter(seconds.values()))
    return [other / own for own, other in zip(seconds[name], reference, strict=True)]


def spread(seconds: dict[str, list[float]], name: str) -> float:
    """Interquartile range over median of the ratios to the reference."""
    ratios = speed_ratios(seconds, name)
    if len(ratios) < 2:
        return 0.0
    first, median, third = statistics.quantiles(ratios, n=4, method="inclusive")
    return (third - first) / median


def resident_memory(process: int | str = "self", field: str = "VmRSS") -> int:
    """Resident memory of a process in bytes, now or (`VmHWM`) at its peak."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def peak_memory() -> int:
    """Peak resident memory of this process since it began, in bytes; `ru_maxrss` begins with that of its parent."""
    return resident_memory(field="VmHWM")


def peak_memory_of(script: str, *flags: str) -> int:
    """Peak resident memory in bytes of a process of its own, whose script prints its `peak_memory`."""
    return int(subprocess.run([sys.executable, script, *flags], check=True, capture_output=True, text=True).stdout)


def print_machine(title: str) -> None:
    """Print what was measured, and on what."""
    processor = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    if torch.cuda.is_available():
        processor = f"{torch.cuda.get_device_name()}, {processor}"
    print(f"\n**{title}** {processor}, {torch.get_num_threads()} threads, torch {torch.__version__}\n", flush=True)


def print_table(seconds: dict[str, list[float]], amount: float, unit: str, *, of: str) -> None:
    """Print the arrangements: median speed in `unit` a second for `amount` of them a round, and how it compares.

    Args:
        seconds: As `measure_rounds` returns them.
        amount: Work of one call, in `unit`.
        unit: Such as "images".
        of: Name of the column of ratios, such as "of the limit".
    """
    rounds = len(next(iter(seconds.values())))
    print(f"| arrangement ({rounds} rounds) | {unit}/s | {of} | spread |\n|---|---|---|---|")
    for name, times in seconds.items():
        ratio = statistics.median(speed_ratios(seconds, name))
        print(f"| {name} | {amount / statistics.median(times):.4g} | {ratio:.2f} | {spread(seconds, name):.0%} |")
    sys.stdout.flush()
