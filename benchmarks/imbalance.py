"""What helps where some classes are rare: balanced rows or adjusted logits, on a long-tailed part of a folder.

    python benchmarks/imbalance.py FOLDER [--imbalance 20] [--jobs 2] [--output_dir runs/imbalance]

A fifth of the images is held out by clip and stays as it is. Of the rest, the classes in a random order keep a share
that falls from all to 1 / `--imbalance`, whole clips as far as they go, and never less than one image. Each cell is
the project's own command with the recipe `small` at 48 px; its seed draws split, order of the classes and weights,
and it is scored after the last epoch. Prints top-1, mean class accuracy, and that of the third of the classes with the
most and the fewest training images. Each difference is to the same objective and texts without treatment. With
`text_batch` unique no logits are adjusted: they are by the batch's own frequencies.
"""

from itertools import product

import numpy as np
from cells import INITIALIZER_RANGE, LAST_EPOCH, QUICK, SMALL, campaign_parser, mean_and_spread, run_cells, text_flags
from datasets import Dataset
from fine_tuning import difference
from links import link_images, score_run, split_folder
from rounds import print_machine

TREATMENTS = {
    "as they are": (),
    "balanced rows": ("--balanced_sampling", "true"),
    "adjusted logits": ("--logit_adjustment", "1"),
}
ROWS = [
    (loss_type, text_batch, treatment)
    for loss_type, text_batch, treatment in product(("js", "ce"), ("unique", "classes"), TREATMENTS)
    if (text_batch, treatment) != ("unique", "adjusted logits")
]


def thin_out(rows: Dataset, imbalance: float, seed: int) -> Dataset:
    """Keep of the class at place r of R, counted from 0, the share imbalance^(-r / (R - 1)), one row at least."""
    rng = np.random.default_rng(seed)
    groups = np.unique(rows["clip" if "clip" in rows.column_names else "file_name"][:], return_inverse=True)[1]
    order = np.argsort(rng.permutation(groups.max() + 1)[groups], kind="stable")  # (num_rows,), clips stay together
    labels = np.asarray(rows["label"][:])[order]  # (num_rows,)
    classes = rng.permutation(np.unique(labels))
    kept = []
    for label, share in zip(classes, np.geomspace(1, 1 / imbalance, len(classes)), strict=True):
        own = order[labels == label]
        kept += own[: max(1, round(share * len(own)))].tolist()
    return rows.select(sorted(kept))


def main() -> None:
    parser = campaign_parser("What helps where some classes are rare.", "imbalance", epochs=30)
    parser.add_argument("--imbalance", type=float, default=20.0, help="of the shares that the classes keep")
    parser.add_argument("--initializer_range", **INITIALIZER_RANGE)
    options = parser.parse_args()
    parts, cells = {}, {}
    for seed in options.seeds:
        split = split_folder(options.folder, seed)
        parts[seed] = {"train": thin_out(split["train"], options.imbalance, seed), "validation": split["validation"]}
        folder = link_images(options.output_dir / f"images-{seed}", parts[seed])
        run = ("--train_dir", str(folder), "--seed", str(seed), "--num_train_epochs", str(options.epochs), *LAST_EPOCH)
        run += text_flags(options.initializer_range)
        for loss_type, text_batch, treatment in ROWS:
            objective = ("--loss_type", loss_type, "--text_batch", text_batch)
            name = f"{loss_type}-{text_batch}-{treatment.replace(' ', '-')}-{seed}"
            cells[name] = [SMALL, *QUICK, *run, *objective, *TREATMENTS[treatment]]
    results = run_cells(cells, options.output_dir, jobs=options.jobs)

    print_machine(f"Rare classes, {options.epochs} epochs, mean ± standard deviation of {len(options.seeds)} seeds.")
    counts = {seed: np.bincount(part["train"]["label"][:]) for seed, part in parts.items()}  # (num_classes,) each
    for seed, count in counts.items():
        print(f"seed {seed}: {count.sum()} training images, {count[count > 0].min()} to {count.max()} a class")
    titles = "top-1 | mean class | difference | common third | difference | rare third | difference"
    print(f"\n| objective | texts | training rows | {titles} |\n" + "|---" * 10 + "|")
    untreated: list[tuple[float, ...]] = []
    for loss_type, text_batch, treatment in ROWS:
        scores = []
        for seed in options.seeds:
            name = f"{loss_type}-{text_batch}-{treatment.replace(' ', '-')}-{seed}"
            by_class = score_run(options.output_dir / name, parts[seed]["validation"])
            seen = np.flatnonzero(by_class.support)
            thirds = np.array_split(seen[np.argsort(-counts[seed][seen], kind="stable")], 3)
            recalls = [by_class.recall[third].mean() for third in (thirds[0], thirds[2])]
            scores.append((results[name]["eval_top1_accuracy"], by_class.mean_class_accuracy, *recalls))
        columns = list(zip(*scores, strict=True))
        shown = [mean_and_spread(values) for values in columns]
        if treatment == "as they are":  # which comes first
            untreated = columns
        for place, column in ((2, 1), (4, 2), (6, 3)):
            shown.insert(place, "" if columns is untreated else difference(columns[column], untreated[column]))
        print(f"| `{loss_type}` | {text_batch} | {treatment} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
