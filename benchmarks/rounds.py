"""How benchmarks measure: as `mg-vtc benchmark` does, in rounds; a noisy machine prints nothing.

See `mg_vtc.exporters.rounds`. What is printed is the median over the rounds, beside the spread of the ratios.
"""

import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from mg_vtc.exporters import rounds as rounds_of_package
from mg_vtc.exporters.rounds import speed_ratios, spread

__all__ = ["measure_rounds", "speed_ratios", "spread"]


def measure_rounds(
    arrangements: dict[str, Callable[[], object]], rounds: int, *, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each arrangement in each round, in order of the rounds; the first of `arrangements` is the reference.

    Raises:
        SystemExit: The machine stays too noisy.
    """
    try:
        return rounds_of_package.measure_rounds(arrangements, rounds, warm_up=warm_up)
    except ValueError as error:
        sys.exit(str(error))


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
