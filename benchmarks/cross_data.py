"""Do names carry a model from one data set to another? Drawn sets with the class names of iMiGUE, SMG and MA-52.

    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/cross_data.py --towers TOWERS [--seeds 0 1 2] [--jobs 2]

The real sets may not be passed on, so that their images are drawn as those of the demo are: a class of SMG or
Micro-Action-52 has the drawing of its partner in iMiGUE, of other clips. Classes without a partner are left out. The
sets differ in their names alone. A model is trained on each set, with a text tower that is pretrained or random, and
`mg_vtc.cross_evaluate` scores it on the held-out clips of each set. Prints a matrix for each kind of text tower: top-1
over the shared classes, and in brackets their number and the accuracy by chance. A second matrix is over the classes
whose names differ from those of the training, as some names are the same in several sets.
"""

import argparse
import csv
import itertools
import shutil
from pathlib import Path
from typing import Any

from cells import (
    LAST_EPOCH,
    PRETRAINED,
    TOWERS,
    mean_and_spread,
    revisions_of,
    run_cells,
    text_flags,
    text_tower,
    vision_tower,
)
from rounds import print_machine

from mg_vtc import cross_evaluate, evaluate
from mg_vtc.data.class_lists import CLASS_LISTS, IMIGUE_CLASS_NAMES
from mg_vtc.data.class_map import ClassMap
from mg_vtc.data.demo.dataset import render_frame
from mg_vtc.data.labels import fold_text

NUM_CLIPS = {"train": 8, "validation": 3}
NUM_FRAMES = 2
TEXT_TOWERS = ("pretrained text tower", "text tower from random weights")


def draw_sets(folder: Path, image_size: int) -> dict[str, Path]:
    """Draw the three sets, each with clips of its own; a set that is there is kept."""
    table, sets = ClassMap(), {}
    for number, (word, known) in enumerate(CLASS_LISTS.items()):
        sets[word] = folder / word
        drawn = dict(
            zip(
                table.list_shared(word, "imigue", known.names),
                table.list_shared("imigue", word, IMIGUE_CLASS_NAMES),
                strict=True,
            )
        )
        if (sets[word] / "labels.csv").exists():  # written last
            continue
        shutil.rmtree(sets[word], ignore_errors=True)
        for label, name in enumerate(drawn):
            _draw_class(sets[word], label, IMIGUE_CLASS_NAMES.index(drawn[name]), 100 * number, image_size)
        with (sets[word] / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("id", "name"), *enumerate(drawn)])
    return sets


def _draw_class(folder: Path, label: int, drawing: int, first_clip: int, image_size: int) -> None:
    clips = itertools.count(first_clip)
    for split, num_clips in NUM_CLIPS.items():
        of_class = folder / split / str(label)
        of_class.mkdir(parents=True)
        for clip, frame in itertools.product(itertools.islice(clips, num_clips), range(NUM_FRAMES)):
            render_frame(drawing, clip, frame, image_size).save(of_class / f"{clip:04}.{frame}.png")


def make_cells(sets: dict[str, Path], options: argparse.Namespace) -> dict[str, list[str]]:
    """Flags of a model for each text tower, set and seed."""
    cells = {}
    for seed in options.seeds:
        for number, text in enumerate((text_tower(options.towers), text_flags(0.09))):  # as TEXT_TOWERS
            for word, folder in sets.items():
                cells[f"{number}-{word}-{seed}"] = [
                    *(PRETRAINED, "--train_dir", str(folder), "--seed", str(seed), *LAST_EPOCH, *text),
                    *vision_tower(options.towers),
                    *("--image_size", str(options.image_size), "--num_train_epochs", str(options.epochs)),
                ]
    return cells


def print_matrix(title: str, sets: dict[str, Path], runs: list[list[dict[str, Any]]]) -> None:
    """Print the mean scores of the seeds, with a row for each set that a model was trained on."""
    print(f"\n| {title} | {' | '.join(CLASS_LISTS[word].title for word in sets)} |\n{'|---' * (1 + len(sets))}|")
    for row, word in enumerate(sets):
        shown = []
        for column in range(len(sets)):
            of_seeds = [cells[row * len(sets) + column] for cells in runs]
            if not of_seeds[0]["num_classes"]:
                shown.append("")
                continue
            top1 = mean_and_spread([cell["scores"]["top1_accuracy"]["value"] for cell in of_seeds])
            shown.append(f"{top1} ({of_seeds[0]['num_classes']}, {100 * of_seeds[0]['chance']:.1f})")
        print(f"| trained on {CLASS_LISTS[word].title} | {' | '.join(shown)} |")


def score_other_names(model: Path, trained_on: str, scored_on: str, folder: Path) -> dict[str, Any]:
    """Score a model on the shared classes whose names differ from those that it was trained with."""
    if trained_on == scored_on:
        return {"num_classes": 0}
    known = {fold_text(name) for name in CLASS_LISTS[trained_on].names}
    shared = ClassMap().list_shared(scored_on, trained_on, CLASS_LISTS[scored_on].names)
    names = [name for name in shared if fold_text(name) not in known]
    scores = evaluate(str(model), str(folder), candidate_labels=names).results["scores"]
    return {"num_classes": len(names), "chance": 1 / len(names), "scores": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description="Do names carry a model from one data set to another?")
    parser.add_argument("--towers", required=True, **TOWERS)
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--output_dir", type=Path, default=Path("runs") / "cross_data")
    options = parser.parse_args()
    sets = draw_sets(options.output_dir / "images", options.image_size)
    cells = make_cells(sets, options)
    run_cells(cells, options.output_dir, jobs=options.jobs)
    print_machine(
        f"Across data sets by names, {options.image_size} px, {options.epochs} epochs, mean ± standard deviation of "
        f"{len(options.seeds)} seeds; in brackets the number of shared classes, and chance."
    )
    for number, title in enumerate(TEXT_TOWERS):
        runs = [
            cross_evaluate(
                [str(options.output_dir / f"{number}-{word}-{seed}") for word in sets], [*map(str, sets.values())]
            )
            for seed in options.seeds
        ]
        print_matrix(title, sets, runs)
        others = [
            [
                score_other_names(options.output_dir / f"{number}-{trained_on}-{seed}", trained_on, word, folder)
                for trained_on in sets
                for word, folder in sets.items()
            ]
            for seed in options.seeds
        ]
        print_matrix(f"{title}, other names alone", sets, others)
    print(f"\nRevision {', '.join(revisions_of(cells, options.output_dir))}.")


if __name__ == "__main__":
    main()
