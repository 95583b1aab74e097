"""The method's table with pretrained towers: every objective, without texts, and the literal setting of the method.

    python benchmarks/gestures.py GESTURES
    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/pretrained_method_table.py GESTURES --towers TOWERS [--image_size 128] [--epochs 15] [--jobs 2]
    python benchmarks/pretrained_method_table.py GESTURES --towers TOWERS --splits clip --imbalance 20

Every cell is the project's own command with the recipe `pretrained`. Its seed draws split and weights, and it is
scored after the last epoch. Objectives that compare image i with text i have the texts of the batch. The literal
setting has embeddings that are not normalized and a scale that stays 1, and the norm of its gradient is not clipped.

Each row is tuned alike: `FACTORS` on all learning rates of the recipe, each on images held out by clip with the
seeds `TUNING_SEEDS`, which are in no cell of the table. With `--factors 1` nothing is tuned: each row has the
rates of the recipe, which were chosen for `js` with the texts of all classes.

With `--imbalance`, some classes are rare in training, as in `imbalance.py`, when rows are tuned as well. The held-out
clips stay as they are. Their cells need an `--output_dir` of their own.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import yaml
from cells import (
    LAST_EPOCH,
    PRETRAINED,
    TOWERS,
    campaign_parser,
    mean_and_spread,
    revisions_of,
    run_cells,
    text_tower,
    vision_tower,
)
from fine_tuning import difference
from imbalance import thin_out
from links import link_images, split_folder
from method_table import SPLIT_TITLES, SPLITS, Outcome, read_outcome
from rounds import print_machine

RATES = ("learning_rate", "vision_learning_rate", "text_learning_rate")
FACTORS, TUNING_SEEDS = (1.0, 0.3, 3.0, 10.0), (100,)  # the first of equals is used
PAIRS = ("--text_batch", "pairs")
LITERAL = (
    *("--normalize", "false", "--logit_scale_init_value", "0", "--learn_logit_scale", "false"),
    *("--max_grad_norm", "0", "--text_batch", "unique"),
)
ROWS = {
    "`js`": (),
    "`js`, texts of the batch": ("--text_batch", "unique"),
    "`js`, literal setting": LITERAL,
    "`kl`, `ce`": ("--loss_type", "kl"),  # they differ by a constant, so that their runs are equal
    "`ce_identity`": ("--loss_type", "ce_identity", *PAIRS),
    "`ce_soft`": ("--loss_type", "ce_soft", *PAIRS),
    "vision-only, `ce`": ("--loss_type", "ce", "--vision_only", "true"),
}
# The row that a row is compared with: `js` with the same texts or, without texts, the same loss with them.
REFERENCES = {
    "`js`, texts of the batch": "`js`",
    "`js`, literal setting": "`js`, texts of the batch",
    "`kl`, `ce`": "`js`",
    "`ce_identity`": "`js`, texts of the batch",
    "`ce_soft`": "`js`, texts of the batch",
    "vision-only, `ce`": "`kl`, `ce`",
}


def flags_of(row: str, split: str, seed: int, factor: float, options: argparse.Namespace) -> list[str]:
    """Flags of a cell, whose learning rates are those of the recipe times `factor`."""
    run = ["--train_dir", str(options.folder), "--split_by", split]
    if options.imbalance > 1:
        run = ["--train_dir", str(options.output_dir / f"images-{seed}")]
    run += ["--seed", str(seed), *LAST_EPOCH]
    run += ["--image_size", str(options.image_size), "--num_train_epochs", str(options.epochs)]
    run += vision_tower(options.towers)
    if "--vision_only" not in ROWS[row]:
        run += text_tower(options.towers)
    if factor != 1:
        recipe = yaml.safe_load(Path(PRETRAINED).read_text(encoding="utf-8"))
        run += [word for name in RATES for word in (f"--{name}", f"{factor * recipe[name]:.3g}")]
    return [PRETRAINED, *run, *ROWS[row]]


def name_of(row: str, split: str, seed: int, factor: float) -> str:
    """Name of a cell."""
    return f"{list(ROWS).index(row)}-{split}-{seed}" + (f"-x{factor:g}" if factor != 1 else "")


def link_rare_classes(options: argparse.Namespace) -> None:
    """Link the images of every seed, with rare classes in training, into `output_dir`/images-SEED."""
    for seed in (*TUNING_SEEDS, *options.seeds):
        split = split_folder(options.folder, seed)
        rare = thin_out(split["train"], options.imbalance, seed)
        link_images(options.output_dir / f"images-{seed}", split | {"train": rare})


def tuning_cells(options: argparse.Namespace) -> dict[str, list[str]]:
    """Flags of each row with each factor, by the name of the cell."""
    keys = product(ROWS, ("clip",), TUNING_SEEDS, options.factors)
    return {name_of(*key): flags_of(*key, options) for key in keys}


def tune(options: argparse.Namespace) -> dict[str, float]:
    """Train each row with each factor, print the scores, and return the best factor of each row."""
    if len(options.factors) == 1:
        return dict.fromkeys(ROWS, options.factors[0])
    results = run_cells(tuning_cells(options), options.output_dir, jobs=options.jobs)
    lines = [f"| rates, top-1 | {' | '.join(f'x {factor:g}' for factor in options.factors)} |"]
    lines.append("|---" * (1 + len(options.factors)) + "|")
    best = {}
    for row in ROWS:
        scores = {
            factor: [results[name_of(row, "clip", seed, factor)]["eval_top1_accuracy"] for seed in TUNING_SEEDS]
            for factor in options.factors
        }
        best[row] = max(scores, key=lambda factor: statistics.mean(scores[factor]))
        shown = [f"**{mean_and_spread(s)}**" if f == best[row] else mean_and_spread(s) for f, s in scores.items()]
        lines.append(f"| {row} | {' | '.join(shown)} |")
    print("\n".join(lines), end="\n\n")
    return best


def format_rows(outcomes: Mapping[tuple[str, str], Sequence[Outcome]], factors: Mapping[str, float]) -> list[str]:
    """Rates, scores of each row on each kind of split, their differences to `REFERENCES`, and signs of a collapse."""
    titles = (
        "rates",
        "top-1",
        "against",
        "difference",
        "top-5",
        "saturated fraction",
        "cosine of class texts",
        "collapsed",
    )
    lines = [f"| objective | split | {' | '.join(titles)} |", "|---" * (2 + len(titles)) + "|"]
    for (row, split), runs in outcomes.items():
        shown = [mean_and_spread([getattr(run, name) for run in runs]) for name in ("top1", "top5", "saturated")]
        reference = REFERENCES.get(row, "")
        shown[1:1] = [reference, ""]
        if reference:
            own, others = ([run.top1 for run in of_row] for of_row in (runs, outcomes[reference, split]))
            shown[2] = difference(own, others)
        shown.append(f"{statistics.mean(run.cosine for run in runs):.2f}")
        shown.append(f"{sum(run.collapsed for run in runs)} of {len(runs)}")
        lines.append(f"| {row} | {SPLIT_TITLES[split]} | x {factors[row]:g} | {' | '.join(shown)} |")
    return lines


def main() -> None:
    parser = campaign_parser("The method's table with pretrained towers.", "pretrained_method_table", epochs=15)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--towers", required=True, **TOWERS)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="what is held out")
    parser.add_argument(
        "--factors", type=float, nargs="+", default=list(FACTORS), help="on the learning rates, to tune"
    )
    parser.add_argument(
        "--imbalance", type=float, default=1, help="of the shares of training images that classes keep"
    )
    options = parser.parse_args()
    if options.imbalance > 1:
        if options.splits != ["clip"]:
            parser.error("--imbalance holds out clips: give --splits clip")
        link_rare_classes(options)
    factors = tune(options)
    names = {
        (row, split, seed): name_of(row, split, seed, factors[row])
        for seed, split, row in product(options.seeds, options.splits, ROWS)
    }
    cells = {name: flags_of(*key, factors[key[0]], options) for key, name in names.items()}
    run_cells(cells, options.output_dir, jobs=options.jobs)
    outcomes = {
        (row, split): [read_outcome(options.output_dir / names[row, split, seed]) for seed in options.seeds]
        for row, split in product(ROWS, options.splits)
    }
    rare = f"imbalance of {options.imbalance:g} : 1, " if options.imbalance > 1 else ""
    print_machine(
        f"Objectives with pretrained towers, {rare}{options.image_size} px, {options.epochs} epochs, mean ± standard "
        f"deviation, {len(options.seeds)} seeds."
    )
    print("\n".join(format_rows(outcomes, factors)))
    tuning = tuning_cells(options) if len(options.factors) > 1 else {}
    print(f"\nRevision {', '.join(revisions_of([*tuning, *cells], options.output_dir))}.")


if __name__ == "__main__":
    main()
