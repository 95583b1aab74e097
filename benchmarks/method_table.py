"""The method's table: every objective and vision-only baseline, on both kinds of split, with error bars.

    python benchmarks/method_table.py GESTURES [--jobs 2] [--output_dir runs/method_table] [--write]

GESTURES is the folder that `benchmarks/gestures.py` makes; the second data set is the drawn demo. Every cell is the
project's own command with the recipe `small`, at 48 px for 30 epochs, its seed drawing split and weights alike. It
is scored after the last epoch, so that the images it is scored on choose nothing.

Each row is tuned alike: the factors `FACTORS` on all learning rates, each in one run on GESTURES held out by clip with
the seed `TUNING_SEED`, which is in no cell of the table; the factor with the best top-1 is used in all cells of a row.

A campaign that was killed goes on with the missing cells. The tables are printed and, with `--write`, put between
their marks in README.md and EXPERIMENTS.md.
"""

import argparse
import json
import re
import statistics
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from cells import LAST_EPOCH, ROOT, SMALL, mean_and_spread, revisions_of, run_cells
from safetensors.torch import load_file

NUM_EPOCHS, IMAGE_SIZE, SEEDS, TUNING_SEED = 30, 48, range(5), 100
FACTORS = (1.0, 3.0, 10.0)  # the first of equals is used
RATES = {"learning_rate": 1e-3, "vision_learning_rate": 1e-3, "text_learning_rate": 1e-4}  # of small.yaml
SMALL_ALEXNET = {"model_type": "alexnet", "hidden_sizes": [32, 96, 192, 128, 128], "hidden_size": 512}
ROWS = {
    **{f"`{loss_type}`": ("--loss_type", loss_type) for loss_type in ("js", "kl", "ce", "ce_identity", "ce_soft")},
    "`js`, all classes": ("--loss_type", "js", "--text_batch", "classes"),
    "vision-only ResNet, `ce`": ("--vision_only", "true", "--loss_type", "ce"),
    "vision-only AlexNet, `ce`, 64 px": (
        *("--vision_only", "true", "--loss_type", "ce", "--vision_config", json.dumps(SMALL_ALEXNET)),
        *("--image_size", "64"),  # the least it takes
    ),
}
SETS = {"gestures": "**864 drawings of two emoji sets**", "demo": "**The drawn demo**"}
SPLITS = ("frame", "clip")
SPLIT_TITLES = {"frame": "frame-level split", "clip": "clip-level split"}
COLLAPSED_COSINE = 0.95  # class texts that are as alike as this on the mean are one text


class Outcome(NamedTuple):
    """What a cell came to; shares and cosines as they are, scores as fractions."""

    top1: float
    top5: float
    mean_class: float
    constant1: float
    constant5: float
    saturated: float
    cosine: float

    @property
    def collapsed(self) -> bool:
        """No better than the majority-class baseline, or all classes one text."""
        return self.top1 <= self.constant1 or self.cosine > COLLAPSED_COSINE


def read_outcome(cell: Path) -> Outcome:
    """Scores of a finished run, and what tells whether it collapsed."""
    results = json.loads((cell / "all_results.json").read_text(encoding="utf-8"))
    history = json.loads((cell / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    embeds = F.normalize(load_file(cell / "model.safetensors")["class_embeds"], dim=-1)  # (num_labels, dim)
    num_labels = len(embeds)
    cosine = ((embeds @ embeds.T).sum() - num_labels) / (num_labels * (num_labels - 1))  # mean over pairs
    return Outcome(
        *(results[f"eval_{name}"] for name in ("top1_accuracy", "top5_accuracy", "mean_class_accuracy")),
        results["baseline_majority_class_top1_accuracy"],
        results["baseline_five_most_frequent_top5_accuracy"],
        next(log["saturated_fraction"] for log in reversed(history) if "saturated_fraction" in log),
        cosine.item(),
    )


def flags_of(row: str, source: tuple[str, ...], split: str, seed: int, factor: float) -> list[str]:
    """Flags of a cell."""
    rates = [word for name, rate in RATES.items() for word in (f"--{name}", f"{factor * rate:.3g}")]
    size = ["--image_size", str(IMAGE_SIZE), "--num_train_epochs", str(NUM_EPOCHS)]
    return [SMALL, *source, *size, *ROWS[row], *rates, "--split_by", split, "--seed", str(seed), *LAST_EPOCH]


def slug(row: str) -> str:
    return re.sub(r"\W+", "-", row).strip("-").lower()


def tune(folder: Path, source: tuple[str, ...], jobs: int) -> tuple[dict[str, float], list[str]]:
    """The factor of each row, and the lines that tell how it was found."""
    cells = {
        f"tune-{slug(row)}-{factor:.2g}": flags_of(row, source, "clip", TUNING_SEED, factor)
        for row, factor in product(ROWS, FACTORS)
    }
    results = run_cells(cells, folder, jobs=jobs)
    best, lines = {}, [f"| row | {' | '.join(f'x {factor:.2g}' for factor in FACTORS)} |", "|---" * 4 + "|"]
    for row in ROWS:
        scores = {factor: results[f"tune-{slug(row)}-{factor:.2g}"]["eval_top1_accuracy"] for factor in FACTORS}
        best[row] = max(scores, key=scores.__getitem__)
        cells_of_row = [f"**{100 * s:.1f}**" if f == best[row] else f"{100 * s:.1f}" for f, s in scores.items()]
        lines.append(f"| {row} | {' | '.join(cells_of_row)} |")
    return best, lines


def score_table(outcomes: dict[tuple[str, str], list[Outcome]]) -> list[str]:
    """Scores of one data set: a row a method, both splits beside each other."""
    titles = [f"{SPLIT_TITLES[split]}: top-{k}" for split, k in product(SPLITS, (1, 5))]
    lines = [f"| | {' | '.join(titles)} |", "|---" * 5 + "|"]
    for row in ROWS:
        scores = [
            mean_and_spread([outcome.top1 if k == 1 else outcome.top5 for outcome in outcomes[row, split]])
            for split, k in product(SPLITS, (1, 5))
        ]
        collapsed = sum(outcome.collapsed for split in SPLITS for outcome in outcomes[row, split])
        note = f" ({collapsed} of {len(SPLITS) * len(SEEDS)} runs collapsed)" if collapsed else ""
        lines.append(f"| {row}{note} | {' | '.join(scores)} |")
    constant = []
    for split in SPLITS:  # the same for all rows
        runs = outcomes[next(iter(ROWS)), split]
        constant += [
            mean_and_spread([run.constant1 for run in runs]),
            mean_and_spread([run.constant5 for run in runs]),
        ]
    return [*lines, f"| most frequent classes | {' | '.join(constant)} |"]


def readme_table(scores: list[str]) -> list[str]:
    """The README's part of `score_table`: top-1 on both splits, by the names of the README."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in scores[2:]]
    lines = ["| loss | frame-level split: top-1 | clip-level split: top-1 |", "|---|---|---|"]
    return lines + [f"| {row} | {frame1} | {clip1} |" for row, frame1, _, clip1, _ in rows]


def detail_table(outcomes: dict[tuple[str, str], list[Outcome]], factors: dict[str, float]) -> list[str]:
    """What else tells how the runs ended: mean class accuracy, saturated rows, likeness of the texts, collapses."""
    lines = ["| row | split | rates | mean class accuracy | saturated fraction | cosine of class texts | collapsed |"]
    lines.append("|---" * 7 + "|")
    for row, split in product(ROWS, SPLITS):
        runs = outcomes[row, split]
        shown = [
            f"x {factors[row]:.2g}",
            mean_and_spread([run.mean_class for run in runs]),
            mean_and_spread([run.saturated for run in runs]),
            f"{statistics.mean(run.cosine for run in runs):.2f}",
            f"{sum(run.collapsed for run in runs)} of {len(runs)}",
        ]
        lines.append(f"| {row} | {split} | {' | '.join(shown)} |")
    return lines


def put_between_marks(path: Path, name: str, lines: list[str]) -> None:
    """Replace what stands between `<!-- name: begin -->` and `<!-- name: end -->`.

    Raises:
        ValueError: The file has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{path} has no marks {begin} and {end} to write between.")
    path.write_text("\n".join([before + begin, *lines, end + after]), encoding="utf-8")


def describe_conditions(cells: Iterable[str], folder: Path) -> list[str]:
    """Revision, length, seeds: the line under a table."""
    revision = ", ".join(revisions_of(cells, folder))
    return [
        f"Percent, mean ± standard deviation of {len(SEEDS)} seeds (split and weights), after the last of "
        f"{NUM_EPOCHS} epochs of the recipe `small` at {IMAGE_SIZE} px; revision {revision}, torch "
        f"{torch.__version__}, one thread a run."
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="The method's table on both kinds of split, with error bars.")
    parser.add_argument("folder", type=Path, help="what benchmarks/gestures.py made")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="which data sets")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/method_table"))
    parser.add_argument("--write", action="store_true", help="put the tables into README.md and EXPERIMENTS.md")
    options = parser.parse_args()
    sources = {"gestures": ("--train_dir", str(options.folder)), "demo": ("--dataset_name", "demo")}
    factors, tuning = tune(options.output_dir, sources["gestures"], options.jobs)
    keys = list(product(options.sets, SEEDS, SPLITS, ROWS))
    names = {key: "-".join((key[0], key[2], slug(key[3]), str(key[1]))) for key in keys}
    cells = {
        names[data, seed, split, row]: flags_of(row, sources[data], split, seed, factors[row])
        for data, seed, split, row in keys
    }
    run_cells(cells, options.output_dir, jobs=options.jobs)
    for data in options.sets:
        outcomes = {
            (row, split): [read_outcome(options.output_dir / names[data, seed, split, row]) for seed in SEEDS]
            for row, split in product(ROWS, SPLITS)
        }
        scores = score_table(outcomes)
        own = [names[data, seed, split, row] for seed, split, row in product(SEEDS, SPLITS, ROWS)]
        conditions = ["", *describe_conditions(own, options.output_dir), ""]
        full = ["", SETS[data], "", *scores, "", *detail_table(outcomes, factors), *conditions]
        print("\n".join(full))
        if options.write:
            if data == "gestures":
                short = ["", *readme_table(scores), *conditions]
                put_between_marks(ROOT / "README.md", "method_table gestures", short)
            put_between_marks(ROOT / "EXPERIMENTS.md", f"method_table {data}", full)
    grid = ["", "Top-1 of the tuning runs, percent; the factor in bold is used in the row:", "", *tuning, ""]
    print("\n".join(grid))
    if options.write:
        put_between_marks(ROOT / "EXPERIMENTS.md", "method_table grid", grid)


if __name__ == "__main__":
    main()
