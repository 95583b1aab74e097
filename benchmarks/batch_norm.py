"""Which statistics should batch norm be used with? Trained models with those of several momenta.

    python benchmarks/batch_norm.py FOLDER RUN [RUN ...]

The momentum of batch norm changes nothing in a training, whose batches are normalized by their own statistics. It sets
the statistics that the trained model is used with, so these can be computed afterwards: the training images pass the
vision tower once more, augmented and in batches of the same size, while all weights stay as they are. RUN are folders
of runs on FOLDER, which are scored on the images that they held out, as `mg-vtc evaluate` does.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from cells import mean_and_spread
from datasets import Dataset
from fine_tuning import difference
from rounds import print_machine
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mg_vtc.data.augmentation import Augmentation
from mg_vtc.data.dataset import ImageDataset
from mg_vtc.data.decoding import collate_images
from mg_vtc.evaluation.cross_evaluation import DEMO_SIZE
from mg_vtc.evaluation.data import load_as_run
from mg_vtc.evaluation.metrics import find_top_k_hits
from mg_vtc.evaluation.selection import choose_rows
from mg_vtc.inference.embedding import compare_images, embed_classes, predict_images
from mg_vtc.inference.ensemble import Member, open_members

TRAINED = "of the training"
MOMENTA = {TRAINED: 0.0, "0.99": 0.99, "0.5": 0.5, "0.1": 0.1, "0.01": 0.01, "mean of all batches": None}


def pass_images(member: Member, rows: Dataset, momentum: float | None, seed: int) -> None:
    """Renew the statistics of batch norm by one pass of the training images; a momentum of 0 keeps them."""
    norms = [module for module in member.network.vision_model.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        raise ValueError(f"{member.source} has no batch norm in its vision tower.")
    recipe = member.records.recipe
    augmentation = Augmentation(
        recipe.get("augmentation", 0.0), recipe.get("horizontal_flip", False), recipe.get("random_shift", 0)
    )
    images = ImageDataset(rows, member.decoding.resizing, pixels=None, augmentation=augmentation, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    batch_size = recipe["per_device_train_batch_size"]
    for norm in norms:
        norm.momentum = momentum
        norm.train()
        if momentum is None:
            norm.reset_running_stats()
    texts = embed_classes(member.network, np.arange(len(member.class_names)))  # (num_classes, projection_dim)
    for batch in DataLoader(images, batch_size, shuffle=True, generator=generator, collate_fn=collate_images):
        compare_images(member.network, member.image_processor, batch["pixel_values"], texts)
    member.network.eval()


def score(run: Path, folder: Path, momentum: float | None) -> float:
    """Top-1 of a run on its held-out images, with statistics of this momentum."""
    (member,) = open_members(str(run), "cpu")
    splits = load_as_run(folder, member.records.recipe, {"demo_size": DEMO_SIZE})
    training, held_out = (choose_rows(splits, member.records.split, name).rows for name in ("train", "validation"))
    if momentum != 0:
        pass_images(member, training, momentum, member.records.recipe.get("seed", 0))
    texts = embed_classes(member.network, np.arange(len(member.class_names)))  # (num_classes, projection_dim)
    logits, _ = predict_images(member.network, member.image_processor, held_out, texts, batch_size=64)
    return float(find_top_k_hits(logits, np.array(held_out["label"][:]), 1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Trained models with statistics of batch norm of several momenta.")
    parser.add_argument("folder", type=Path, help="class folders that the runs were trained on")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the runs of benchmarks have
    scores = {name: [score(run, options.folder, one) for run in options.runs] for name, one in MOMENTA.items()}
    print_machine(f"Statistics of batch norm, mean ± standard deviation of {len(options.runs)} runs.")
    print("| momentum | top-1 | against the training |\n|---|---|---|")
    for name, values in scores.items():
        change = "" if name == TRAINED else difference(values, scores[TRAINED])
        print(f"| {name} | {mean_and_spread(values)} | {change} |")


if __name__ == "__main__":
    main()
