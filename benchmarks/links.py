"""Folders of links to the images of another folder: fewer of them, or under other classes, split beforehand."""

import csv
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, DatasetDict, Image, disable_progress_bars
from transformers.utils import logging

from mg_vtc.data import load_image_folder
from mg_vtc.data.splits import split_stratified
from mg_vtc.evaluation.metrics import ClassScores, predict_classes, score_classes
from mg_vtc.inference.embedding import embed_classes, predict_images
from mg_vtc.inference.loading import open_model

disable_progress_bars()  # between the lines that tell how far the cells are
logging.disable_progress_bar()


def split_folder(folder: Path, seed: int) -> DatasetDict:
    """The images of a folder, whole clips with about a fifth of them as "validation"."""
    return split_stratified(load_image_folder(folder)["train"], 0.2, seed, split_by="clip")


def link_images(folder: Path, parts: Mapping[str, Dataset]) -> Path:
    """Link the rows of each part as `<folder>/<part>/<number of the class>/<file name>`, and name all classes.

    An earlier folder of links is replaced. The classes are those of the rows' `label`, with or without a row.

    Returns:
        The folder, which --train_dir takes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part, rows in parts.items():
        paths = rows.cast_column("image", Image(decode=False))["image"]
        for image, label, file_name in zip(paths, rows["label"], rows["file_name"], strict=True):
            link = folder / part / str(label) / file_name.replace("/", "-")  # unlike under any class
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(image["path"])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name"])
        writer.writerows(enumerate(next(iter(parts.values())).features["label"].names))
    return folder


def score_run(run: Path, rows: Dataset) -> ClassScores:
    """Scores by class of a finished run, on rows whose classes are numbered as its own."""
    torch.set_num_threads(1)  # as the run had
    model, image_processor = open_model(str(run), dtype=torch.float32)
    num_classes = model.config.num_labels
    text_embeds = embed_classes(model, np.arange(num_classes))
    logits, _ = predict_images(model, image_processor, rows, text_embeds, batch_size=64)
    return score_classes(np.asarray(rows["label"][:]), predict_classes(logits), num_classes)
