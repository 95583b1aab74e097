"""Evaluation of models on the data sets of each other, through the names of the classes that they share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from ..data.class_map import SHARED_CLASSES, ClassMap
from ..inference.loading import read_config
from ..runs.records import read_records
from .data import READING, is_data_of_run, load_as_run
from .evaluate import evaluate
from .selection import choose_rows

DEMO_SIZE = 64  # pixels of the images of the demo


def cross_evaluate(
    models: Sequence[str], data: Sequence[str], *, class_map: str | Path = SHARED_CLASSES, **settings: Any
) -> list[dict[str, Any]]:
    """Evaluate each model on each data set, with the classes that its own data set shares with it.

    The text tower encodes the names that the scored data set gives to these classes, and images of other classes are
    left out. A model is scored on its own data set with all classes that this has in the table. A data set is read
    with the settings of the model that was trained on it, if it is among `models`. Classes without scored images do
    not count.

    Args:
        models: Folders or Hub ids of models with a text tower.
        data: Folders or Hub data sets.
        class_map: CSV with the shared classes (see `ClassMap`).
        settings: Further arguments of `evaluate`, such as `split` or `batch_size`.

    Returns:
        For each model and data set: `model`, `data`, `trained_on` and `scored_on` (columns of the table),
        `num_classes`, `chance` (1 / `num_classes`), `num_images` and `scores` (as in `evaluate`); the last three are
        null if fewer than two classes are shared.

    Raises:
        OSError: A model, data set or the table is not found.
        ValueError: The table is invalid or does not have the classes of a model or data set, or for a reason listed
            in `evaluate`.
    """
    table = ClassMap(class_map)
    trained_on = [table.find_column(_read_class_names(model), model) for model in models]
    records = [read_records(model) for model in models]
    reading = {name: settings.pop(name) for name in READING if name in settings}
    cells = {}
    for folder in data:
        recipe = next((of_run.recipe for of_run in records if is_data_of_run(folder, of_run.recipe)), {})
        splits = load_as_run(folder, recipe, {"demo_size": DEMO_SIZE, **reading})
        names = next(iter(splits.values())).features["label"].names
        scored_on = table.find_column(names, folder)
        for model, of_model, of_run in zip(models, trained_on, records, strict=True):
            scored = set(choose_rows(splits, of_run.split, settings.get("split")).rows["label"][:])
            with_images = [name for label, name in enumerate(names) if label in scored]
            shared = table.list_shared(scored_on, of_model, with_images)
            where = {"model": model, "data": folder, "trained_on": of_model, "scored_on": scored_on}
            cells[model, folder] = where | {"num_classes": len(shared)} | _score(model, splits, shared, settings)
    return [cells[model, folder] for model in models for folder in data]


def _score(model: str, splits: DatasetDict, shared: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    if len(shared) < 2:
        return {"chance": None, "num_images": None, "scores": None}
    results = evaluate(model, splits, candidate_labels=shared, **settings).results
    return {
        "chance": 1 / len(shared),
        "num_images": results["conditions"]["num_images"],
        "scores": results["scores"],
    }


def _read_class_names(model: str) -> list[str]:
    config = read_config(model)
    return [config.id2label[number] for number in range(config.num_labels)]
