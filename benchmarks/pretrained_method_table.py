"""The method's table with pretrained towers: every objective, without texts, and the literal setting of the method.

    python benchmarks/gestures.py GESTURES
    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/pretrained_method_table.py GESTURES --towers TOWERS [--image_size 128] [--epochs 15] [--jobs 2]

Every cell is the project's own command with the recipe `pretrained`. Its seed draws split and weights, and it is
scored after the last epoch. Rates are those of the recipe, which were chosen for `js` with the texts of all classes:
they were not tuned for a row. Objectives that compare image i with text i have the texts of the batch. The literal
setting has embeddings that are not normalized and a scale that stays 1, and the norm of its gradient is not clipped.
"""

import argparse
import statistics
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from cells import LAST_EPOCH, ROOT, campaign_parser, mean_and_spread, revisions_of, run_cells
from fine_tuning import difference
from method_table import SPLIT_TITLES, SPLITS, Outcome, read_outcome
from rounds import print_machine

RECIPE = str(ROOT / "src" / "mg_vtc" / "recipes" / "pretrained.yaml")
PAIRS = ("--text_batch", "pairs")
LITERAL = (
    *("--normalize", "false", "--logit_scale_init_value", "0", "--learn_logit_scale", "false"),
    *("--max_grad_norm", "0", "--text_batch", "unique"),
)
ROWS = {
    "`js`": (),
    "`js`, texts of the batch": ("--text_batch", "unique"),
    "`js`, literal setting": LITERAL,
    "`kl`": ("--loss_type", "kl"),
    "`ce`": ("--loss_type", "ce"),
    "`ce_identity`": ("--loss_type", "ce_identity", *PAIRS),
    "`ce_soft`": ("--loss_type", "ce_soft", *PAIRS),
    "vision-only, `ce`": ("--loss_type", "ce", "--vision_only", "true"),
}


def flags_of(row: str, split: str, seed: int, options: argparse.Namespace) -> list[str]:
    """Flags of a cell."""
    run = ["--train_dir", str(options.folder), "--split_by", split, "--seed", str(seed), *LAST_EPOCH]
    run += ["--image_size", str(options.image_size), "--num_train_epochs", str(options.epochs)]
    run += ["--vision_model_name_or_path", str(options.towers / "efficientnet-lite0")]
    if "--vision_only" not in ROWS[row]:
        run += ["--text_model_name_or_path", str(options.towers / "all-minilm-l6-v2")]
    return [RECIPE, *run, *ROWS[row]]


def format_rows(outcomes: Mapping[tuple[str, str], list[Outcome]]) -> list[str]:
    """Scores of each row on each kind of split, their differences to the first row, and signs of a collapse."""
    first = next(iter(ROWS))
    titles = ("top-1", f"against {first}", "top-5", "saturated fraction", "cosine of class texts", "collapsed")
    lines = [f"| objective | split | {' | '.join(titles)} |", "|---" * (2 + len(titles)) + "|"]
    for (row, split), runs in outcomes.items():
        shown = [mean_and_spread([getattr(run, name) for run in runs]) for name in ("top1", "top5", "saturated")]
        own, of_first = ([run.top1 for run in of_row] for of_row in (runs, outcomes[first, split]))
        shown.insert(1, "" if row == first else difference(own, of_first))
        shown.append(f"{statistics.mean(run.cosine for run in runs):.2f}")
        shown.append(f"{sum(run.collapsed for run in runs)} of {len(runs)}")
        lines.append(f"| {row} | {SPLIT_TITLES[split]} | {' | '.join(shown)} |")
    return lines


def main() -> None:
    parser = campaign_parser("The method's table with pretrained towers.", "pretrained_method_table", epochs=15)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--towers", type=Path, required=True, help="folder that pretrained_towers.py wrote")
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="what is held out")
    options = parser.parse_args()
    names = {
        (row, split, seed): f"{number}-{split}-{seed}"
        for seed, split, (number, row) in product(options.seeds, options.splits, enumerate(ROWS))
    }
    cells = {name: flags_of(*key, options) for key, name in names.items()}
    run_cells(cells, options.output_dir, jobs=options.jobs)
    outcomes = {
        (row, split): [read_outcome(options.output_dir / names[row, split, seed]) for seed in options.seeds]
        for row, split in product(ROWS, options.splits)
    }
    print_machine(
        f"Objectives with pretrained towers, {options.image_size} px, {options.epochs} epochs, mean ± standard "
        f"deviation, {len(options.seeds)} seeds."
    )
    print("\n".join(format_rows(outcomes)))
    print(f"\nRevision {', '.join(revisions_of(cells, options.output_dir))}.")


if __name__ == "__main__":
    main()
