"""Scores of a run on its held-out images, with intervals, for the model card."""

import json
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from transformers.trainer_utils import PredictionOutput

from ..data.class_lists import CLASS_LISTS
from ..data.dataset import ImageDataset
from ..runs.directory import CONFUSION, CURVES, SPLIT_RESULTS
from ..runs.provenance import name_data
from ..runs.records import find_training, read_records
from .class_groups import find_class_groups
from .misclassifications import count_predictions
from .results import Predictions, describe_results
from .selection import ScoredSplit

MOST_CLASSES = 150  # more are not legible in the figure
DOTS_PER_INCH = 144


def write_run_results(
    folder: Path,
    predicted: Mapping[str, PredictionOutput],
    splits: Mapping[str, Dataset],
    class_names: list[str],
) -> None:
    """Write `results/<split>.json` for each split in the format of `mg-vtc evaluate`, and the figures of the card.

    Intervals resample clips if they are known, else images (as in streamed data). `figures/confusion.png` shows the
    test split or, if there is none, the validation split. `figures/training_curves.png` shows the log in
    `trainer_state.json`. Figures need the extra `report`; without it, a warning is issued instead.

    Args:
        folder: Folder of a finished run.
        predicted: Predictions of the trainer for "validation" and, if there is one, "test".
        splits: Rows of "train" and of the same splits.
        class_names: Class names in id order.
    """
    records = read_records(str(folder))
    train_rows = splits["train"]
    train_labels = train_rows.labels.numpy() if isinstance(train_rows, ImageDataset) else None
    labels_file = records.recipe.get("labels_file")
    is_there = labels_file in CLASS_LISTS or (labels_file is not None and Path(labels_file).is_file())
    source = records.recipe.get("train_dir") or records.recipe.get("dataset_name") or ""
    class_groups = find_class_groups(class_names, source, labels_file if is_there else None)
    predictions = {}
    for path in (folder / name for name in SPLIT_RESULTS):
        split = path.stem
        if split not in predicted:
            continue
        rows, output = splits[split], predicted[split]
        assert isinstance(output.predictions, np.ndarray)
        assert isinstance(output.label_ids, np.ndarray)
        clips = rows.clips if isinstance(rows, ImageDataset) else None
        predictions[split] = Predictions(
            output.predictions, output.label_ids, class_names, clips=clips, class_groups=class_groups
        )
        split_by = records.split["split_by"] if split == "validation" else "given"
        scored = ScoredSplit(split, True, split_by, num_training_rows=0, train_labels=train_labels)
        data = name_data(records.recipe)
        results = describe_results(
            "this model", data, predictions[split], scored, records, task="image-classification"
        )
        text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    _draw_figures(folder, next(iter(predictions.values()), None))


def _draw_figures(folder: Path, predictions: Predictions | None) -> None:
    """Draw the figures of the card for which there are data."""
    if predictions is not None and len(predictions.class_names) > MOST_CLASSES:
        predictions = None
    training = find_training(read_records(str(folder)))
    if predictions is None and training is None:
        return
    if missing := [module for module in ("matplotlib", "sklearn") if find_spec(module) is None]:
        warnings.warn(
            f"The model card has no figures, because {' and '.join(missing)} is not installed: run "
            'pip install "mg-vtc[report]" before training.',
            stacklevel=4,
        )
        return
    from .report.charts import draw_confusion
    from .report.curves import draw_panels, list_panels

    if predictions is not None:
        _save(draw_confusion(count_predictions(predictions), predictions.class_names), folder / CONFUSION)
    if training is not None and (panels := list_panels(training)):
        _save(draw_panels(training, panels), folder / CURVES)


def _save(figure: Any, path: Path) -> None:
    from .report.palette import PAGE, drawing

    path.parent.mkdir(exist_ok=True)
    with drawing():
        figure.savefig(path, dpi=DOTS_PER_INCH, facecolor=PAGE, metadata={"Software": None})
