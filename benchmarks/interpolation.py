"""What interpolation with the start adds (WiSE-FT): a model of one drawer is trained further on another drawer.

    python benchmarks/gestures.py FOLDER
    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/interpolation.py FOLDER --towers TOWERS [--jobs 2] [--output_dir runs/interpolation]

The recipe `pretrained` trains on all images of a drawer. That model is trained further on half of the clips of the
other drawer, in both directions. Final weights between start and end are scored on the other half, and on the images
of the first drawer, which the further training did not see. `auto` is a further training that chooses the fraction on
a tenth of its clips.
"""

import csv
import shutil
from itertools import product
from pathlib import Path

from cells import LAST_EPOCH, PRETRAINED, TOWERS, campaign_parser, mean_and_spread, run_cells, text_tower, vision_tower
from rounds import print_machine

import mg_vtc

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
FURTHER = (
    *("--train_val_split", "0.5", "--linear_probe_epochs", "0", "--learning_rate", "3e-4"),
    *("--vision_learning_rate", "3e-4", "--text_learning_rate", "3e-5"),
)


def divide_by_drawer(folder: Path, output_dir: Path) -> list[Path]:
    """Copy the images of each drawer in `sources.csv` to a folder of their own."""
    with open(folder / "sources.csv", encoding="utf-8", newline="") as file:
        clips = list(csv.DictReader(file))
    drawers = [output_dir / name.partition("@")[0] for name in sorted({clip["package"] for clip in clips})]
    for drawer in drawers:
        for clip in (clip for clip in clips if clip["package"].startswith(f"{drawer.name}@")):
            target = drawer / "training" / clip["id"]
            target.mkdir(parents=True, exist_ok=True)
            for image in (folder / "training" / clip["id"]).glob(f"{clip['clip']}.*"):
                shutil.copyfile(image, target / image.name)
        shutil.copyfile(folder / "labels.csv", drawer / "labels.csv")
    return drawers


def score(model: Path, drawer: Path, split: str) -> float:
    """Top-1 accuracy of a model on a split of a drawer."""
    images = str(drawer / "training") if (drawer / "training").is_dir() else str(drawer)
    result = mg_vtc.evaluate(str(model), images, split=split, labels_file=str(drawer / "labels.csv"))
    return result.results["scores"]["top1_accuracy"]["value"]


def main() -> None:
    parser = campaign_parser("What interpolation with the start adds.", "interpolation", epochs=15)
    parser.add_argument("--towers", required=True, **TOWERS)
    parser.add_argument("--image_size", type=int, default=128)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    drawers = divide_by_drawer(options.folder, options.output_dir / "drawers")
    common = (PRETRAINED, "--num_train_epochs", str(options.epochs), *LAST_EPOCH)
    common += ("--image_size", str(options.image_size))
    towers = (*vision_tower(options.towers), *text_tower(options.towers))
    pairs = list(product(options.seeds, (drawers, drawers[::-1])))
    starts, further = {}, {}
    for seed, (first, second) in pairs:
        name, labels = f"{first.name}-{seed}", ("--labels_file", str(first / "labels.csv"), "--seed", str(seed))
        data = ("--train_dir", str(first / "training"), "--train_val_split", "0")
        starts[name] = [*common, *towers, *data, *labels]
        start = ("--model_name_or_path", str(options.output_dir / name), "--train_dir", str(second / "training"))
        for alpha in ("1", "auto"):
            further[f"{name}-{alpha}"] = [*common, *start, *FURTHER, *labels, "--wise_ft_alpha", alpha]
    run_cells(starts, options.output_dir, jobs=options.jobs)
    results = run_cells(further, options.output_dir, jobs=options.jobs)

    rows: dict[str, list[tuple[float, float]]] = {}
    for seed, (first, second) in pairs:
        start, end, chosen = (options.output_dir / f"{first.name}-{seed}{suffix}" for suffix in ("", "-1", "-auto"))
        for alpha in ALPHAS:
            mixed = mg_vtc.interpolate(start, end, alpha, options.output_dir / "mixed", overwrite=True)
            rows.setdefault(f"{alpha:g}", []).append((score(mixed, second, "validation"), score(mixed, first, "all")))
        rows.setdefault("auto", []).append((score(chosen, second, "validation"), score(chosen, first, "all")))

    print_machine(f"Interpolation, {options.epochs} epochs, mean ± standard deviation of {len(pairs)} runs.")
    print("| fraction of the trained weights | top-1, new drawer | top-1, first drawer |\n|---|---|---|")
    for fraction, scores in rows.items():
        print(f"| {fraction} | {' | '.join(mean_and_spread(column) for column in zip(*scores, strict=True))} |")
    chosen = sorted(results[name]["wise_ft_alpha"] for name in further if name.endswith("-auto"))
    print(f"\n`auto` chose {', '.join(f'{alpha:g}' for alpha in chosen)}.")


if __name__ == "__main__":
    main()
