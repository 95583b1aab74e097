"""Does a bounded objective bear wrong labels? js and ce with 0, 20 and 40 % of the training labels replaced.

    python benchmarks/label_noise.py FOLDER [--noise 0 0.2 0.4] [--jobs 2] [--output_dir runs/label_noise]

A fifth of the images is held out by clip, with right labels. Of the rest, a share of the images, drawn one by one,
gets another class, each with the same probability (symmetric noise). Each cell is the project's own command with
the recipe `small` at 48 px; its seed draws split, wrong labels and weights, and it is scored after the last epoch,
when wrong labels have been learned by heart if they can be. Prints top-1 and mean class accuracy on the right labels,
and the differences of pairs of one seed.
"""

from itertools import product

import numpy as np
from cells import INITIALIZER_RANGE, LAST_EPOCH, QUICK, SMALL, campaign_parser, mean_and_spread, run_cells, text_flags
from datasets import Dataset
from fine_tuning import difference
from links import link_images, split_folder
from rounds import print_machine

OBJECTIVES = {"`js`": ("--loss_type", "js"), "`ce`": ("--loss_type", "ce")}


def replace_labels(rows: Dataset, share: float, seed: int) -> Dataset:
    """Give `round(share * len(rows))` rows another class, drawn uniformly from the others."""
    rng = np.random.default_rng(seed)
    num_classes = rows.features["label"].num_classes
    labels = np.asarray(rows["label"][:])  # (num_rows,)
    wrong = rng.permutation(len(labels))[: round(share * len(labels))]
    labels[wrong] = (labels[wrong] + rng.integers(1, num_classes, len(wrong))) % num_classes
    return rows.remove_columns("label").add_column("label", labels.tolist(), feature=rows.features["label"])


def main() -> None:
    parser = campaign_parser("Does a bounded objective bear wrong labels?", "label_noise", epochs=30)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.2, 0.4], help="shares of wrong labels")
    parser.add_argument("--initializer_range", **INITIALIZER_RANGE)
    options = parser.parse_args()
    cells = {}
    for seed, noise in product(options.seeds, options.noise):
        split = split_folder(options.folder, seed)
        parts = {"train": replace_labels(split["train"], noise, seed), "validation": split["validation"]}
        folder = link_images(options.output_dir / f"images-{noise:g}-{seed}", parts)
        run = ("--train_dir", str(folder), "--seed", str(seed), "--num_train_epochs", str(options.epochs), *LAST_EPOCH)
        run += text_flags(options.initializer_range)
        for number, flags in enumerate(OBJECTIVES.values()):
            cells[f"{number}-{noise:g}-{seed}"] = [SMALL, *QUICK, *run, *flags]
    results = run_cells(cells, options.output_dir, jobs=options.jobs)

    print_machine(f"Wrong labels, {options.epochs} epochs, mean ± standard deviation of {len(options.seeds)} seeds.")
    columns = [(name, noise) for name in ("top1", "mean_class") for noise in options.noise]
    titles = [f"{'top-1' if name == 'top1' else 'mean class'}, {noise:.0%} wrong" for name, noise in columns]
    print(f"| objective | {' | '.join(titles)} |")
    print("|---" * (1 + len(columns)) + "|")
    scores = [
        [
            [results[f"{number}-{noise:g}-{seed}"][f"eval_{name}_accuracy"] for seed in options.seeds]
            for name, noise in columns
        ]
        for number in range(len(OBJECTIVES))
    ]
    for objective, values in zip(OBJECTIVES, scores, strict=True):
        print(f"| {objective} | {' | '.join(map(mean_and_spread, values))} |")
    print(f"| {' against '.join(OBJECTIVES)} | {' | '.join(map(difference, *scores))} |")


if __name__ == "__main__":
    main()
