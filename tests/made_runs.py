"""A folder of a finished run, with invented predictions, for tests of reports and cards."""

import json

import numpy as np
import yaml
from datasets import Dataset, Features, Image, Value
from PIL import Image as PillowImage
from transformers.trainer_utils import PredictionOutput

from mg_vtc.data.dataset import ImageDataset
from mg_vtc.evaluation.run_results import write_run_results

LOG = [
    {"epoch": 1.0, "step": 9, "loss": 0.5, "learning_rate": 0.1},
    {"epoch": 1.0, "step": 9, "eval_loss": 0.5, "eval_top1_accuracy": 0.6, "eval_top5_accuracy": 1.0},
]
SPLIT = {"split_by": "clip", "seed": 7, "train": ["a"] * 8, "validation": ["b"] * 40}


def make_part(labels, clips=None):
    """Rows of one grey image."""
    columns = {"image": [PillowImage.new("RGB", (8, 8))] * len(labels), "label": labels, "row": range(len(labels))}
    features = {"image": Image(), "label": Value("int64"), "row": Value("int64")}
    if clips is not None:
        columns["clip"], features["clip"] = clips, Value("string")
    columns = {name: list(column) for name, column in columns.items()}
    return ImageDataset(Dataset.from_dict(columns, features=Features(features)), 8, pixels=None)


def make_prediction(labels, num_classes, num_right):
    """Predictions of which the first ones are right, and the others the next class."""
    labels = np.array(labels)
    answered = np.where(np.arange(len(labels)) < num_right, labels, (labels + 1) % num_classes)
    logits = 3 * np.eye(num_classes, dtype=np.float32)[answered]  # (num_rows, num_classes)
    return PredictionOutput(predictions=logits, label_ids=labels, metrics={})


def write_run(folder, class_names, *, parts=("validation",), split=SPLIT, recipe=None, kept_best=False, clips=True):
    """Write the files of a run beside its model, with 24 right predictions of 40 on every part."""
    folder.mkdir(exist_ok=True)
    (folder / "split.json").write_text(json.dumps(split))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe or {"train_dir": str(folder), "loss_type": "kl"}))
    state = {"best_model_checkpoint": "checkpoint-9" if kept_best else None, "log_history": LOG}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    labels = [row % 2 for row in range(40)]
    named = [f"clip {row // 8}" for row in range(40)] if clips else None
    rows = {"train": make_part([0, 0, 0, 0, 0, 0, 0, 1])} | {part: make_part(labels, named) for part in parts}
    predicted = {part: make_prediction(labels, len(class_names), 24) for part in parts}
    write_run_results(folder, predicted, rows, list(class_names))
