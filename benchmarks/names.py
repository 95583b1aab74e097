"""What do names buy, with few clips, wrong labels, rare and unseen classes? Against shuffled names, and none.

    python benchmarks/gestures.py GESTURES
    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/names.py GESTURES --towers TOWERS [--freeze_vision_model] [--conditions 1 4] [--jobs 2]

A fifth of the images is held out by clip, with right labels. The rows differ in the texts alone: the names of the
classes with a text tower that is pretrained or random, tuned or frozen; the same names shuffled among the classes; and
a learned table of class embeddings, which has no names. Further rows have several texts of each class: prompts around
the name, or the name and two descriptions, which were written from the names. Each cell is the project's own command
with the recipe `pretrained`. Its seed draws split, clips, wrong labels, rare classes and weights, and it is scored
after the last epoch. Rare classes are those of `imbalance.py`.

For unseen classes, `--held_out` classes are left out of training, each seed another draw. A batch is compared with its
own texts there, so that it does not have the names of unseen classes. The images of these classes are then compared
with their names, and with all names, by the mean over the classes, so that chance is 1 / number of names.
"""

import argparse
import csv
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import torch
from cells import (
    LAST_EPOCH,
    PRETRAINED,
    TOWERS,
    campaign_parser,
    mean_and_spread,
    revisions_of,
    run_cells,
    text_flags,
    text_tower,
    vision_tower,
)
from datasets import Dataset, concatenate_datasets
from fine_tuning import PROMPTS, difference
from imbalance import thin_out
from label_noise import replace_labels
from links import link_images, split_folder
from rounds import print_machine
from zero_shot import of_classes, score_texts

from mg_vtc.inference.embedding import embed_classes
from mg_vtc.inference.loading import open_model

FROZEN = ("--freeze_text_model", "true")
RANDOM = text_flags(0.09)  # with which texts begin apart
DESCRIBED = ("--descriptions_file", str(Path(__file__).with_name("gesture_descriptions.json")))
NAMES = "names, pretrained text tower"
# Flags of each row, and whether the names are shuffled; a row without flags of a text tower has the pretrained one.
ROWS = {
    NAMES: ((), False),
    "names, the same frozen": (FROZEN, False),
    "names, text tower from random weights": (RANDOM, False),
    "names, the same frozen at random weights": ((*RANDOM, *FROZEN), False),
    "shuffled names, pretrained text tower": ((), True),
    "shuffled names, the same frozen": (FROZEN, True),
    "no names: a table of class embeddings": (("--vision_only", "true"), False),
    "names in four prompts": (PROMPTS, False),
    "names with descriptions": (DESCRIBED, False),
    "names with descriptions, text tower frozen": ((*DESCRIBED, *FROZEN), False),
}
# The nearest row, which a row is compared with. Text towers with random weights are also smaller, and the table has
# no tower.
REFERENCES = {
    "names, the same frozen": NAMES,
    "names, text tower from random weights": NAMES,
    "names, the same frozen at random weights": "names, the same frozen",
    "shuffled names, pretrained text tower": NAMES,
    "shuffled names, the same frozen": "names, the same frozen",
    "no names: a table of class embeddings": NAMES,
    "names in four prompts": NAMES,
    "names with descriptions": NAMES,
    "names with descriptions, text tower frozen": "names, the same frozen",
}
WRONG, IMBALANCE = 0.4, 20
# What a condition does to the training rows, given a seed.
CHANGES: dict[str, Callable[[Dataset, int], Dataset]] = {
    "wrong": lambda rows, seed: replace_labels(rows, WRONG, seed),
    "rare": lambda rows, seed: thin_out(rows, IMBALANCE, seed),
}
CONDITIONS = ("1", "2", "4", "8", "all", *CHANGES, "unseen")
Draw = tuple[Dataset, Dataset, np.ndarray]  # rows of unseen and of seen classes, numbers of the unseen classes


def write_shuffled_names(path: Path, names: list[str], seed: int) -> Path:
    """Write a `labels_file` that gives each class the name of another one."""
    order = np.random.default_rng(seed).permutation(len(names))
    others = dict(zip(order, np.roll(order, 1), strict=True))  # one cycle through all classes
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "name"), *((label, names[others[label]]) for label in range(len(names)))])
    return path


def flags_of(row: str, images: Path, seed: int, options: argparse.Namespace) -> list[str]:
    """Flags of a cell."""
    flags, shuffled = ROWS[row]
    towers = [*vision_tower(options.towers)]
    if not {"--text_config", "--vision_only"} & set(flags):
        towers += text_tower(options.towers)
    run = ["--train_dir", str(images), "--seed", str(seed), *LAST_EPOCH, "--image_size", str(options.image_size)]
    if options.freeze_vision_model:
        run += ["--freeze_vision_model", "true", "--linear_probe_epochs", "0"]
    if shuffled:
        run += ["--labels_file", str(options.output_dir / f"shuffled-{seed}.csv")]
    return [PRETRAINED, *run, "--num_train_epochs", str(options.epochs), *towers, *flags]


def name_of(row: str, condition: str, seed: int) -> str:
    """Name of a cell."""
    return f"{list(ROWS).index(row)}-{condition}-{seed}"


def with_own_texts(options: argparse.Namespace) -> list[str]:
    """The rows that can be asked for an unseen class: its own name belongs to it."""
    return [row for row in options.rows if not ROWS[row][1] and "--vision_only" not in ROWS[row][0]]


def reference_of(row: str, options: argparse.Namespace) -> str:
    """The row that this one is compared with; empty without one."""
    reference = REFERENCES.get(row, "")
    return reference if reference in options.rows else ""


def make_cells(options: argparse.Namespace) -> dict[str, list[str]]:
    """Flags of the cells with all classes by their names, seed by seed."""
    cells = {}
    conditions = [condition for condition in options.conditions if condition != "unseen"]
    for seed in options.seeds:
        split = split_folder(options.folder, seed)
        names = split["train"].features["label"].names
        write_shuffled_names(options.output_dir / f"shuffled-{seed}.csv", names, seed)
        right = link_images(options.output_dir / f"images-{seed}", split)
        changed = {
            condition: link_images(
                options.output_dir / f"images-{condition}-{seed}", split | {"train": change(split["train"], seed)}
            )
            for condition, change in CHANGES.items()
            if condition in conditions
        }
        for condition, row in product(conditions, options.rows):
            shots = ["--shots", condition] if condition.isdigit() else []
            images = changed.get(condition, right)
            cells[name_of(row, condition, seed)] = [*flags_of(row, images, seed, options), *shots]
    return cells


def make_unseen_cells(options: argparse.Namespace) -> tuple[dict[str, list[str]], dict[str, Draw]]:
    """Flags of the cells with unseen classes, and what each of them is scored on."""
    cells, draws = {}, {}
    for seed in options.seeds:
        split = split_folder(options.folder, seed)
        num_classes = split["train"].features["label"].num_classes
        unseen, seen = np.split(np.random.default_rng(seed).permutation(num_classes), [options.held_out])
        parts = {part: of_classes(rows, seen) for part, rows in split.items()}
        images = link_images(options.output_dir / f"images-seen-{seed}", parts)
        unseen_rows = of_classes(concatenate_datasets([*split.values()]), unseen)
        for row in with_own_texts(options):
            name = name_of(row, "unseen", seed)
            cells[name] = [*flags_of(row, images, seed, options), "--text_batch", "unique"]
            draws[name] = (unseen_rows, parts["validation"], np.sort(unseen))
    return cells, draws


def print_accuracies(results: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    """Print top-1 of each row and condition, and the difference to `REFERENCES` over pairs of one seed."""
    titles = {"all": "all clips", "wrong": f"{WRONG:.0%} wrong labels", "rare": f"imbalance of {IMBALANCE} : 1"}
    conditions = [condition for condition in options.conditions if condition != "unseen"]
    shown = [titles.get(one, f"{one} clip{'s' if one != '1' else ''} a class") for one in conditions]
    print(f"| texts | against | {' | '.join(f'{title}: top-1 | difference' for title in shown)} |")
    print("|---" * (2 + 2 * len(shown)) + "|")
    for row in options.rows:
        reference = reference_of(row, options)
        columns = [reference]
        for condition in conditions:
            own, others = (
                [results[name_of(of, condition, seed)]["eval_top1_accuracy"] for seed in options.seeds]
                for of in (row, reference or row)
            )
            columns += [mean_and_spread(own), difference(own, others) if reference else ""]
        print(f"| {row} | {' | '.join(columns)} |")


def score_unseen(run: Path, unseen_rows: Dataset, seen_rows: Dataset, unseen: np.ndarray) -> list[float]:
    """Scores of a run by the texts that it has for its classes, in the order of `COMPARISONS`."""
    model, image_processor = open_model(str(run), dtype=torch.float32)
    embeds = embed_classes(model, np.arange(model.config.num_labels))  # (num_classes, projection_dim)
    (scores,) = score_texts(model, image_processor, embeds[None], unseen_rows, seen_rows, unseen)
    return scores


def print_unseen(draws: dict[str, Draw], options: argparse.Namespace) -> None:
    """Score the cells of unseen classes, and print the means over the draws, and of the differences of pairs."""
    torch.set_num_threads(1)  # as the cells have
    titles = (
        "unseen among unseen | above chance | against | difference | unseen among all "
        "| seen among seen | seen among all"
    )
    print(f"\n| texts | {titles} |\n" + "|---" * 8 + "|")
    num_classes = next(iter(draws.values()))[0].features["label"].num_classes
    numbers = (options.held_out, num_classes, num_classes - options.held_out, num_classes)
    chance, unseen = [1 / options.held_out] * len(options.seeds), {}
    for row in with_own_texts(options):  # the one that a row is compared with comes first
        cells = [name_of(row, "unseen", seed) for seed in options.seeds]
        scores = [score_unseen(options.output_dir / name, *draws[name]) for name in cells]
        unseen[row], *others = zip(*scores, strict=True)
        reference = reference_of(row, options)
        shown = [mean_and_spread(unseen[row]), difference(unseen[row], chance), reference]
        shown += [difference(unseen[row], unseen[reference]) if reference else "", *map(mean_and_spread, others)]
        print(f"| {row} | {' | '.join(shown)} |")
    first, *rest = (f"{100 / number:.1f}" for number in numbers)
    print(f"| chance | {first} | | | | {' | '.join(rest)} |")


def main() -> None:
    parser = campaign_parser("What do names buy?", "names", epochs=15)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--towers", required=True, **TOWERS)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--freeze_vision_model", action="store_true", help="faster: only heads and texts are trained")
    parser.add_argument(
        "--conditions",
        nargs="+",
        choices=CONDITIONS,
        default=list(CONDITIONS),
        help="clips of each class to train on, wrong labels, rare classes, unseen classes",
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="of the table")
    parser.add_argument("--held_out", type=int, default=8, help="unseen classes")
    options = parser.parse_args()
    options.rows = [row for row in ROWS if row in options.rows]
    options.output_dir.mkdir(parents=True, exist_ok=True)
    cells, draws = make_cells(options), {}
    if "unseen" in options.conditions:
        unseen, draws = make_unseen_cells(options)
        cells |= unseen
    results = run_cells(cells, options.output_dir, jobs=options.jobs)
    frozen = ", vision tower frozen" if options.freeze_vision_model else ""
    print_machine(
        f"What names buy, {options.image_size} px, {options.epochs} epochs{frozen}, mean ± standard deviation of "
        f"{len(options.seeds)} seeds."
    )
    if set(options.conditions) != {"unseen"}:
        print_accuracies(results, options)
    if draws:
        print_unseen(draws, options)
    print(f"\nRevision {', '.join(revisions_of(cells, options.output_dir))}.")


if __name__ == "__main__":
    main()
