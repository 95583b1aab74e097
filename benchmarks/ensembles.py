"""What ensembles and test-time augmentation add on clips that were held out.

    python benchmarks/gestures.py FOLDER
    python benchmarks/ensembles.py FOLDER [--jobs 2] [--output_dir runs/ensembles]

Each split by clip has three models of the recipe `recommended`, which differ in their seed: initial weights, order of
the images and augmentation. Cells that are finished are not run again. A single model and a single model with views
are the mean of the three.
"""

import statistics
import time
from pathlib import Path

from cells import LAST_EPOCH, campaign_parser, mean_and_spread, run_cells
from rounds import print_machine

import mg_vtc

NUM_MEMBERS = 3
SCORES = ("top1_accuracy", "top5_accuracy", "expected_calibration_error")
ROWS = {"one model": (1, False), "one model, `--tta`": (1, True), "ensemble of 3": (3, False)}
ROWS |= {"ensemble of 3, `--tta`": (3, True)}


def score(models: list[Path], folder: Path, *, tta: bool) -> dict[str, float]:
    """Scores of an ensemble on the held-out clips, top-1 of whole clips, and seconds."""
    begun = time.monotonic()
    results = mg_vtc.evaluate([*map(str, models)], str(folder), split="validation", vote="mean", tta=tta).results
    scores = {name: results["scores"][name]["value"] for name in SCORES}
    scores["clips"] = results["clips"]["scores"]["top1_accuracy"]["value"]
    return scores | {"seconds": time.monotonic() - begun}


def score_row(models: list[Path], folder: Path, size: int, *, tta: bool) -> dict[str, float]:
    """Mean scores of the ensembles of `size` consecutive models."""
    groups = [models[start : start + size] for start in range(0, len(models), size)]
    of_groups = [score(group, folder, tta=tta) for group in groups]
    return {name: statistics.mean(scores[name] for scores in of_groups) for name in of_groups[0]}


def main() -> None:
    parser = campaign_parser("What ensembles and test-time augmentation add.", "ensembles", epochs=40)
    parser.add_argument("--image_size", type=int, default=48)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    cells = {
        f"{seed}-{member}": [
            *("recommended", "--train_dir", str(options.folder), "--split_by", "clip", "--split_seed", str(seed)),
            *("--seed", str(10 * seed + member), "--num_train_epochs", str(options.epochs)),
            *("--image_size", str(options.image_size), *LAST_EPOCH),
        ]
        for seed in options.seeds
        for member in range(NUM_MEMBERS)
    }
    run_cells(cells, options.output_dir, jobs=options.jobs)

    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ROWS}
    for seed in options.seeds:
        models = [options.output_dir / f"{seed}-{member}" for member in range(NUM_MEMBERS)]
        for name, (size, tta) in ROWS.items():
            rows[name].append(score_row(models, options.folder, size, tta=tta))

    print_machine(
        f"Ensembles, {options.image_size} px, {options.epochs} epochs, mean ± standard deviation of "
        f"{len(options.seeds)} splits."
    )
    print("| prediction | top-1 | gain | top-5 | top-1, clips | calibration error | s |\n" + "|---" * 7 + "|")
    for name, scores in rows.items():
        columns = {column: [of_split[column] for of_split in scores] for column in scores[0]}
        pairs = zip(
            columns["top1_accuracy"], (of_split["top1_accuracy"] for of_split in rows["one model"]), strict=True
        )
        shown = [columns["top1_accuracy"], [one - other for one, other in pairs], columns["top5_accuracy"]]
        shown += [columns["clips"], columns["expected_calibration_error"]]
        seconds = statistics.mean(columns["seconds"])
        print(f"| {name} | {' | '.join(map(mean_and_spread, shown))} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
