"""What do the texts buy? Classes that training never saw, distinguished by their names alone.

    python benchmarks/zero_shot.py FOLDER [--held_out 8] [--jobs 2] [--output_dir runs/zero_shot]

Of each draw, which is a seed, `--held_out` classes are left out of training altogether, images and names. Each cell
is the project's own command with the recipe `small` at 48 px on the others, a fifth of them held out by clip.
Afterwards all images of the unseen classes are compared with the unseen names, and with all names, and the held-out
images of the seen classes with the seen names, and with all. A row is a prompt template; the ensemble takes the mean
of a name's embeddings over the templates. Scores are means over classes, so that chance is 1 / number of names.
The words of unseen names have tokens, which a text tower from random weights has never seen at work.
"""

import numpy as np
import torch
import torch.nn.functional as F
from cells import INITIALIZER_RANGE, LAST_EPOCH, QUICK, SMALL, campaign_parser, mean_and_spread, run_cells, text_flags
from datasets import Dataset, concatenate_datasets
from links import link_images, split_folder
from rounds import print_machine
from transformers import BaseImageProcessor

from mg_vtc import MgVtcModel
from mg_vtc.evaluation.metrics import predict_classes, score_classes
from mg_vtc.inference.embedding import embed_names, predict_images
from mg_vtc.inference.loading import open_model

TEMPLATES = ("{}", "a person {}", "a picture of {}")
ENSEMBLE = "mean of the three"
COMPARISONS = ("unseen among unseen", "unseen among all", "seen among seen", "seen among all")


def of_classes(rows: Dataset, classes: np.ndarray) -> Dataset:
    """Rows of some classes."""
    return rows.select(np.flatnonzero(np.isin(rows["label"][:], classes)))


def mean_class_accuracy(logits: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> float:
    """Where images are compared with some classes alone: logits (num_rows, num_classes), labels (num_rows,)."""
    predictions = predict_classes(logits[:, classes])  # (num_rows,), -1 for a tie
    predicted = np.where(predictions < 0, -1, classes[predictions])
    return score_classes(labels, predicted, logits.shape[1]).mean_class_accuracy


def score_texts(
    model: MgVtcModel,
    image_processor: BaseImageProcessor,
    embeds: torch.Tensor,
    unseen_rows: Dataset,
    seen_rows: Dataset,
    unseen: np.ndarray,
) -> list[list[float]]:
    """Scores in the order of `COMPARISONS` of each set of texts: embeds (num_sets, num_classes, projection_dim)."""
    num_sets, num_classes, _ = embeds.shape
    every = np.arange(num_classes)
    scores: list[list[float]] = [[] for _ in range(num_sets)]
    for rows, own in ((unseen_rows, unseen), (seen_rows, np.setdiff1d(every, unseen))):
        logits, _ = predict_images(model, image_processor, rows, embeds.flatten(0, 1), batch_size=64)
        labels = np.asarray(rows["label"][:])  # (num_rows,)
        for number, of_set in enumerate(np.split(logits, num_sets, axis=1)):  # (num_rows, num_classes) each
            scores[number] += [mean_class_accuracy(of_set, labels, classes) for classes in (own, every)]
    return scores


def score_draw(run: str, unseen_rows: Dataset, seen_rows: Dataset, unseen: np.ndarray) -> dict[str, list[float]]:
    """Scores of a finished run by template, in the order of `COMPARISONS`."""
    model, image_processor = open_model(run, dtype=torch.float32)
    names = unseen_rows.features["label"].names
    embeds = {template: embed_names(model, run, names, template) for template in TEMPLATES}  # (num_classes, dim) each
    embeds[ENSEMBLE] = F.normalize(sum(F.normalize(embed, dim=-1) for embed in embeds.values()), dim=-1)
    scores = score_texts(model, image_processor, torch.stack([*embeds.values()]), unseen_rows, seen_rows, unseen)
    return dict(zip(embeds, scores, strict=True))


def main() -> None:
    parser = campaign_parser("What do the texts buy?", "zero_shot", epochs=30)
    parser.set_defaults(seeds=[0, 1, 2, 3, 4])
    parser.add_argument("--held_out", type=int, default=8, help="classes left out of training")
    parser.add_argument("--initializer_range", **INITIALIZER_RANGE)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the cells have
    cells, draws = {}, {}
    for seed in options.seeds:
        split = split_folder(options.folder, seed)
        num_classes = split["train"].features["label"].num_classes
        unseen, seen = np.split(np.random.default_rng(seed).permutation(num_classes), [options.held_out])
        parts = {part: of_classes(rows, seen) for part, rows in split.items()}
        folder = link_images(options.output_dir / f"images-{seed}", parts)
        run = ("--train_dir", str(folder), "--seed", str(seed), "--num_train_epochs", str(options.epochs), *LAST_EPOCH)
        run += text_flags(options.initializer_range)
        cells[f"js-{seed}"] = [SMALL, *QUICK, *run, "--loss_type", "js"]
        unseen_rows = of_classes(concatenate_datasets([*split.values()]), unseen)
        draws[f"js-{seed}"] = (unseen_rows, parts["validation"], np.sort(unseen))
    run_cells(cells, options.output_dir, jobs=options.jobs)
    scores = [score_draw(str(options.output_dir / name), *draw) for name, draw in draws.items()]

    print_machine(
        f"{options.held_out} of {num_classes} classes unseen, {options.epochs} epochs of `js`, mean class accuracy, "
        f"mean ± standard deviation of {len(scores)} draws."
    )
    print(f"| prompt | {' | '.join(COMPARISONS)} |\n{'|---' * 5}|")
    for template in scores[0]:
        shown = [mean_and_spread(values) for values in zip(*(draw[template] for draw in scores), strict=True)]
        print(f"| {template} | {' | '.join(shown)} |")
    chances = (options.held_out, num_classes, num_classes - options.held_out, num_classes)
    print(f"| chance | {' | '.join(f'{100 / number:.1f}' for number in chances)} |")


if __name__ == "__main__":
    main()
