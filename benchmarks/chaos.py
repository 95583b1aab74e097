"""Run the campaigns and print one table: how many cases were tried, survived, were lost, or failed in silence.

    python benchmarks/chaos.py [--short] --output_dir runs/chaos

Each campaign has a script of its own, which says what it counts, and records its cases: run the same command again to
resume. With `--short` a few cases of each are tried, in about twenty minutes. The exit code is 1 if a case was lost or
silent, or a campaign did not end.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from chaos_runs import OUTCOMES, read_summary


class Campaign(NamedTuple):
    """Script of a campaign.

    Attributes:
        script: Name of the file, without its suffix.
        flags: Flags of the whole campaign.
        short: Flags of the short one.
    """

    script: str
    flags: Sequence[str]
    short: Sequence[str]


CAMPAIGNS = {
    "generated inputs": Campaign("chaos_fuzz", ("--examples", "10000"), ("--examples", "500")),
    "damaged files": Campaign("chaos_damage", (), ("--cases", "150")),
    "kills": Campaign("chaos_kill", ("--moments", "100"), ("--moments", "1")),
    "hours of training": Campaign("chaos_soak", ("--hours", "2"), ("--hours", "0.1")),
}


def run_campaigns(campaigns: Mapping[str, Campaign], folder: Path, *, short: bool) -> dict[str, dict[str, int] | None]:
    """Run each campaign in a process of its own; return its counts, or None if it did not end."""
    found: dict[str, dict[str, int] | None] = {}
    for name, campaign in campaigns.items():
        print(f"\n{name}\n", flush=True)
        script = Path(__file__).with_name(f"{campaign.script}.py")
        flags = campaign.short if short else campaign.flags
        output_dir = folder / campaign.script
        ended = subprocess.run([sys.executable, script, *flags, "--output_dir", output_dir])
        found[name] = read_summary(output_dir) if ended.returncode == 0 else None
    return found


def print_table(found: Mapping[str, Mapping[str, int] | None]) -> None:
    """Print the counts of each campaign, and their sums."""
    print(f"\n| campaign | tried | {' | '.join(OUTCOMES)} |\n|---|---|{'---|' * len(OUTCOMES)}")
    ended = {name: counts for name, counts in found.items() if counts is not None}
    total = {outcome: sum(counts[outcome] for counts in ended.values()) for outcome in OUTCOMES}
    for name, counts in [*found.items(), ("all", total)]:
        cells = ["did not end", *[""] * len(OUTCOMES)]
        if counts is not None:
            cells = [f"{number:,}" for number in (sum(counts.values()), *(counts[one] for one in OUTCOMES))]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few cases of each campaign")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/chaos"))
    options = parser.parse_args()
    folder = options.output_dir / ("short" if options.short else "whole")
    found = run_campaigns(CAMPAIGNS, folder, short=options.short)
    print_table(found)
    if not all(counts is not None and counts["lost"] == counts["silent"] == 0 for counts in found.values()):
        sys.exit("A case was lost or silent, or a campaign did not end; its records are in the output folder.")


if __name__ == "__main__":
    main()
