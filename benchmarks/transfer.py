"""How well do drawings by one hand teach those by another? Every setting is tested on a drawer it was not trained on.

    python benchmarks/gestures.py GESTURES
    python benchmarks/further_drawer.py FURTHER
    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/transfer.py GESTURES FURTHER --towers TOWERS [--image_size 128] [--epochs 15] [--jobs 2]

First, each drawer of GESTURES in turn is left out: a cell trains on the others and is tested on that one. The setting
with the best mean top-1 is chosen on these tests. Then the chosen setting and the `REFERENCES` train on all of
GESTURES and are tested on FURTHER, which chose nothing.

Each cell is the project's own command, its seed draws the weights, and it is tested after the last epoch. A cell of
WiSE-FT goes on from the cell with frozen towers, and is drawn back half the way to it. Prints top-1 and top-5, and the
mean difference in top-1 to the recipe over pairs of the same seed and drawer, with its standard error.
"""

import argparse
import csv
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
from cells import (
    LAST_EPOCH,
    PRETRAINED,
    ROOT,
    TOWERS,
    campaign_parser,
    mean_and_spread,
    revisions_of,
    run_cells,
    text_tower,
    vision_tower,
)
from datasets import Dataset
from fine_tuning import difference
from links import link_images
from rounds import print_machine

from mg_vtc.data import load_image_folder

RECIPES = ROOT / "src" / "mg_vtc" / "recipes"
FROZEN, RECIPE, SMALL = "both towers frozen", "the recipe `pretrained`", "the recipe `recommended`, small towers"
WISE_FT = "frozen towers first, then WiSE-FT, 0.5"
REFERENCES = (SMALL, FROZEN, RECIPE)
SETTINGS = {  # of the recipe `pretrained`
    RECIPE: (),
    FROZEN: ("--freeze_vision_model", "true", "--freeze_text_model", "true", "--linear_probe_epochs", "0"),
    "no linear probe": ("--linear_probe_epochs", "0"),
    WISE_FT: ("--linear_probe_epochs", "0", "--wise_ft_alpha", "0.5"),
    "averaged weights, 0.98": ("--ema_decay", "0.98"),
    "augmentation 1": ("--augmentation", "1"),
    "no augmentation": ("--augmentation", "0"),
    "frozen text tower": ("--freeze_text_model", "true"),
    "`ce`": ("--loss_type", "ce"),
    "images of half more pixels a side": (),
    "the same, augmentation 1": ("--augmentation", "1"),
}
LARGER = ("images of half more pixels a side", "the same, augmentation 1")


def divide_by_drawer(folder: Path) -> dict[str, Dataset]:
    """The rows of a set by the package of their drawer, as its `sources.csv` says."""
    with open(folder / "sources.csv", encoding="utf-8", newline="") as file:
        drawers = {(clip["id"], clip["clip"]): clip["package"].rpartition("@")[0] for clip in csv.DictReader(file)}
    rows = load_image_folder(folder)["train"]
    paths = [Path(name) for name in rows["file_name"]]
    own = np.array([drawers[path.parent.name, path.name.partition(".")[0]] for path in paths])  # (num_rows,)
    return {drawer: rows.select(np.flatnonzero(own == drawer)) for drawer in sorted(set(own.tolist()))}


def link_tests(options: argparse.Namespace) -> dict[str, Path]:
    """Folders of links whose split "validation" is a drawer that "train" lacks, by its name; the further one is last.

    Raises:
        ValueError: The sets have other classes, or the further set is by a drawer of the first.
    """
    every = load_image_folder(options.folder)["train"]
    drawers, further = divide_by_drawer(options.folder), divide_by_drawer(options.further)
    if shared := drawers.keys() & further.keys():
        raise ValueError(f"{options.further} does not test transfer: {', '.join(shared)} is in {options.folder}, too.")
    tests = {}
    for name, rows in (drawers | further).items():
        others = (
            np.flatnonzero(~np.isin(every["file_name"], rows["file_name"])) if name in drawers else range(len(every))
        )
        if rows.features["label"].names != every.features["label"].names:
            raise ValueError(
                f"{options.further} and {options.folder} have other classes: build both with the scripts."
            )
        parts = {"train": every.select(others), "validation": rows}
        tests[name] = link_images(options.output_dir / f"images-{name.replace('/', '-')}", parts)
    return tests


def flags_of(setting: str, images: Path, seed: int, options: argparse.Namespace) -> list[str]:
    """Flags of a cell."""
    run = ["--train_dir", str(images), "--seed", str(seed), *LAST_EPOCH]
    if setting == SMALL:
        epochs = [] if options.small_epochs is None else ["--num_train_epochs", str(options.small_epochs)]
        return [str(RECIPES / "recommended.yaml"), *run, *epochs]
    size = options.image_size * 3 // 2 if setting in LARGER else options.image_size
    towers = [*vision_tower(options.towers), *text_tower(options.towers)]
    if setting == WISE_FT:
        towers = ["--model_name_or_path", str(options.output_dir / name_of(FROZEN, images, seed))]
    shape = ["--image_size", str(size), "--num_train_epochs", str(options.epochs)]
    return [PRETRAINED, *run, *shape, *towers, *SETTINGS[setting]]


def name_of(setting: str, images: Path, seed: int) -> str:
    number = "small" if setting == SMALL else list(SETTINGS).index(setting)
    return f"{images.name.removeprefix('images-')}-{number}-{seed}"


def run_settings(
    settings: tuple[str, ...], images: list[Path], options: argparse.Namespace
) -> Mapping[str, list[dict[str, float]]]:
    """Run the cells of some settings on some folders, seed by seed, and return their results by setting."""
    results = {}
    first = [setting for setting in (FROZEN, *settings) if setting != WISE_FT]  # WISE_FT goes on from FROZEN
    for seed, stage in product(options.seeds, (first, [WISE_FT] if WISE_FT in settings else [])):
        cells = {
            name_of(one, folder, seed): flags_of(one, folder, seed, options) for one in stage for folder in images
        }
        results |= run_cells(cells, options.output_dir, jobs=options.jobs)
    return {
        setting: [results[name_of(setting, folder, seed)] for seed, folder in product(options.seeds, images)]
        for setting in settings
    }


def print_scores(title: str, scores: Mapping[str, list[dict[str, float]]], folder: Path, cells: list[str]) -> None:
    """Print a table of settings, and of which revisions it is."""
    print_machine(title)
    print("| setting | top-1 | top-5 | top-1 against the recipe |\n|---|---|---|---|")
    reference = [result["eval_top1_accuracy"] for result in scores[RECIPE]]
    for setting, results in scores.items():
        top1, top5 = ([result[f"eval_top{top}_accuracy"] for result in results] for top in (1, 5))
        against = "" if setting == RECIPE else difference(top1, reference)
        print(f"| {setting} | {mean_and_spread(top1)} | {mean_and_spread(top5)} | {against} |")
    print(f"\nRevision {', '.join(revisions_of(cells, folder))}.")


def main() -> None:
    parser = campaign_parser("How well do drawings by one hand teach those by another?", "transfer", epochs=15)
    parser.add_argument("further", type=Path, help="what benchmarks/further_drawer.py made")
    parser.add_argument("--towers", required=True, **TOWERS)
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--small_epochs", type=int, help="of small towers; by default those of their recipe")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS], help="to choose from")
    options = parser.parse_args()
    *known, unknown = link_tests(options).values()
    shape = f"{options.image_size} px, {options.epochs} epochs, mean ± standard deviation"

    settings = tuple(dict.fromkeys((*REFERENCES, *options.settings)))
    scores = run_settings(settings, known, options)
    cells = [name_of(*key) for key in product(settings, known, options.seeds)]
    title = f"One of {len(known)} drawers left out, {shape} of {len(cells) // len(settings)} runs."
    print_scores(title, scores, options.output_dir, cells)
    tops = {one: sum(result["eval_top1_accuracy"] for result in scores[one]) for one in scores}
    chosen = max(tops, key=lambda one: tops[one])

    settings = tuple(dict.fromkeys((*REFERENCES, chosen)))
    cells = [name_of(*key) for key in product(settings, [unknown], options.seeds)]
    title = f"The further drawer, {shape} of {len(options.seeds)} runs; chosen before: {chosen}."
    print_scores(title, run_settings(settings, [unknown], options), options.output_dir, cells)


if __name__ == "__main__":
    main()
