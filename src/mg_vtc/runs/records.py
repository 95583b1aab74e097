"""Records of a run, beside its model on disk or on the Hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download
from transformers.trainer import TRAINER_STATE_NAME

from .directory import FIRST_BATCH, RECIPE, SPLIT, SPLIT_RESULTS, read_recipe, read_record
from .manifest import check_files

VALIDATION = SPLIT_RESULTS[1]


class RunRecords(NamedTuple):
    """Records of a run.

    Attributes:
        split: Content of `split.json`; empty if it is missing.
        state: Content of `trainer_state.json`; None if it is missing, as in an exported classifier.
        recipe: Content of `recipe.yaml`; empty if it is missing.
        validation: Content of `results/validation.json`; empty if it is missing.
        first_batch: Path of the first images of the training; None if it is missing, as on the Hub.
    """

    split: dict[str, Any]
    state: dict[str, Any] | None
    recipe: dict[str, Any]
    validation: dict[str, Any]
    first_batch: Path | None = None


class Training(NamedTuple):
    """Course of a training.

    Attributes:
        history: `log_history` of the Trainer's state, with at least one entry.
        best_step: Step of the checkpoint that was kept; None if the last weights were.
        majority: Top-1 of the majority-class baseline on the validation images, in [0, 1]; None if unknown.
        first_batch: Path of the first images of the training; None if it is missing.
    """

    history: list[dict[str, Any]]
    best_step: int | None = None
    majority: float | None = None
    first_batch: Path | None = None


def find_training(records: RunRecords, *, shows_images: bool = False) -> Training | None:
    """Return the training of a run; None without a log, as of an ensemble.

    Args:
        records: Records of the run.
        shows_images: Whether to add its first images, which a report of other data must not show.
    """
    if records.state is None or not records.state.get("log_history"):
        return None
    kept_best = records.state["best_model_checkpoint"] and records.recipe.get("load_best_model_at_end", True)
    majority = records.validation.get("baselines", {}).get("majority_class", {}).get("top1_accuracy")
    best_step = records.state.get("best_global_step") if kept_best else None
    return Training(records.state["log_history"], best_step, majority, records.first_batch if shows_images else None)


def read_records(model_id: str) -> RunRecords:
    """Read the records beside a model or, for a checkpoint, beside the model of its run.

    Args:
        model_id: Folder or Hub id; "" for a model that came from neither, which has no records.

    Raises:
        ValueError: A file is damaged.
    """
    if not model_id:
        return RunRecords({}, None, {}, {})
    names = [SPLIT, TRAINER_STATE_NAME, RECIPE, VALIDATION]
    folder = Path(model_id)
    if not folder.is_dir():
        folder = Path(snapshot_download(model_id, allow_patterns=names))
    if folder.resolve().name.startswith("checkpoint-") and not (folder / SPLIT).exists():
        folder = folder.resolve().parent
    check_files(folder, names)
    split, state, recipe, validation = (path if (path := folder / name).is_file() else None for name in names)
    return RunRecords(
        read_record(split) if split else {},
        read_record(state) if state else None,
        read_recipe(recipe)[0] if recipe else {},
        read_record(validation) if validation else {},
        path if (path := folder / FIRST_BATCH).is_file() else None,
    )


def join_records(records: Sequence[RunRecords]) -> RunRecords:
    """Join the records of the models of an ensemble, which was trained on the rows of all of them.

    Args:
        records: Records of one or several models.

    Returns:
        The records of a single model; of several, the recipe of the first, without a training log.
    """
    if len(records) == 1:
        return records[0]
    states = [one.state for one in records]
    state = None if None in states else {"best_model_checkpoint": _find_best(records)}
    return RunRecords(_join_splits([one.split for one in records if one.split]), state, records[0].recipe, {})


def _find_best(records: Sequence[RunRecords]) -> str | None:
    """Return the best checkpoint of a model that kept it, or None."""
    kept = [one.state for one in records if one.state and one.recipe.get("load_best_model_at_end", True)]
    return next((state["best_model_checkpoint"] for state in kept if state["best_model_checkpoint"]), None)


def _join_splits(splits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rows of all splits by split, and other values if they are the same in all."""
    if not splits:
        return {}
    joined = {name: value for name, value in splits[0].items() if all(value == one.get(name) for one in splits)}
    joined.pop("digests", None)
    names = {name for split in splits for name, value in split.items() if isinstance(value, list)}
    joined |= {name: [row for split in splits for row in split.get(name, ())] for name in names}
    if all("digests" in split for split in splits):
        digests = [split["digests"] for split in splits]
        joined["digests"] = {name: [row for one in digests for row in one.get(name, ())] for name in names}
    kinds = [split["split_by"] for split in splits]
    if "split_by" not in joined:
        joined["split_by"] = "frame" if "frame" in kinds else kinds[0]  # the one that shows least about new clips
    return joined
