"""What each way of fine-tuning adds: the recipe `pretrained` with one setting changed, on a folder with clips.

    python benchmarks/pretrained_towers.py TOWERS
    python benchmarks/fine_tuning.py FOLDER --towers TOWERS [--image_size 128] [--epochs 15] [--jobs 2]

A fifth of the images is held out by clip. Each cell is the project's own command. Its seed draws split and weights,
and it is scored after the last epoch, so that the held-out images choose nothing. Prints top-1 and top-5, and the mean
over the seeds of the difference in top-1 to the recipe, with its standard error. `interpolation.py` measures WiSE-FT,
which needs a start with trained heads.
"""

import math
import statistics
from itertools import product

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
from rounds import print_machine
from scipy.stats import ttest_1samp

PROMPTS = ("--prompt_template", "{}", "a drawing of a person, {}", "a person who is {}", "the gesture {}")
SETTINGS = {
    "the recipe": (),
    "decay of the rates by layer, 0.75": ("--layer_decay", "0.75"),
    "no linear probe": ("--linear_probe_epochs", "0"),
    "heads of the method": ("--projection", "mlp"),
    "texts of the batch": ("--text_batch", "unique"),
    "`ce`": ("--loss_type", "ce"),
    "averaged weights, 0.98": ("--ema_decay", "0.98"),
    "label smoothing, 0.1": ("--label_smoothing_factor", "0.1"),
    "mixup, 0.2": ("--mixup_alpha", "0.2"),
    "CutMix, 1": ("--cutmix_alpha", "1"),
    "no augmentation": ("--augmentation", "0"),
    "frozen text tower": ("--freeze_text_model", "true"),
    "LoRA of the text tower, rank 8": ("--lora_rank", "8", "--lora_towers", "text"),
    "four prompts, drawn": (*PROMPTS, "--class_texts", "sample"),
    "four prompts, averaged": (*PROMPTS, "--class_texts", "mean"),
    "frozen vision tower": ("--freeze_vision_model", "true", "--linear_probe_epochs", "0"),
}


def difference(values: list[float], reference: list[float]) -> str:
    """Mean difference of paired fractions in points, with its standard error of two pairs or more.

    Of three pairs or more, it ends with the p value of a paired t test, which knows of no other comparison.
    """
    points = [100 * (value - other) for value, other in zip(values, reference, strict=True)]
    mean = f"{statistics.mean(points):+.1f}"
    if len(points) < 2:
        return mean
    error = statistics.stdev(points) / math.sqrt(len(points))
    if len(points) < 3 or error < 1e-9:  # equal differences: nothing to test
        return f"{mean} ± {error:.1f}"
    p_value = ttest_1samp(points, 0).pvalue
    return f"{mean} ± {error:.1f}, p {'< 0.001' if p_value < 0.001 else f'{p_value:.{3 if p_value < 0.01 else 2}f}'}"


def main() -> None:
    parser = campaign_parser("What each way of fine-tuning adds.", "fine_tuning", epochs=15)
    parser.add_argument("--towers", required=True, **TOWERS)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--image_size", type=int, default=128)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="beside the recipe")
    options = parser.parse_args()
    numbers = [number for number, name in enumerate(SETTINGS) if number == 0 or name in options.settings]
    run = (*vision_tower(options.towers), *text_tower(options.towers))
    run += ("--train_dir", str(options.folder), "--num_train_epochs", str(options.epochs), *LAST_EPOCH)
    run += ("--image_size", str(options.image_size))
    flags = list(SETTINGS.values())
    cells = {
        f"{number}-{seed}": [PRETRAINED, *run, "--seed", str(seed), *flags[number]]
        for seed, number in product(options.seeds, numbers)
    }
    results = run_cells(cells, options.output_dir, jobs=options.jobs)

    print_machine(
        f"Fine-tuning, {options.image_size} px, {options.epochs} epochs, mean ± standard deviation of "
        f"{len(options.seeds)} seeds."
    )
    print("| setting | top-1 | top-5 | top-1 against the recipe |\n|---|---|---|---|")
    scores = {
        (number, top): [results[f"{number}-{seed}"][f"eval_top{top}_accuracy"] for seed in options.seeds]
        for number, top in product(numbers, (1, 5))
    }
    for number in numbers:
        shown = [mean_and_spread(scores[number, top]) for top in (1, 5)]
        shown.append(difference(scores[number, 1], scores[0, 1]) if number > 0 else "")
        print(f"| {list(SETTINGS)[number]} | {' | '.join(shown)} |")
    print(f"\nRevision {', '.join(revisions_of(cells, options.output_dir))}.")


if __name__ == "__main__":
    main()
