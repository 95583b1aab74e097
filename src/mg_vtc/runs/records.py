"""Records of a run, beside its model on disk or on the Hub."""

from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download
from transformers.trainer import TRAINER_STATE_NAME

from .directory import RECIPE, SPLIT, read_recipe, read_record
from .manifest import check_files


class RunRecords(NamedTuple):
    """Records of a run.

    Attributes:
        split: Content of `split.json`; empty if it is missing.
        state: Content of `trainer_state.json`; None if it is missing, as in an exported classifier.
        recipe: Content of `recipe.yaml`; empty if it is missing.
    """

    split: dict[str, Any]
    state: dict[str, Any] | None
    recipe: dict[str, Any]


def read_records(model_id: str) -> RunRecords:
    """Read the records beside a model or, for a checkpoint, beside the model of its run.

    Args:
        model_id: Folder or Hub id; "" for a model that came from neither, which has no records.

    Raises:
        ValueError: A file is damaged.
    """
    if not model_id:
        return RunRecords({}, None, {})
    names = [SPLIT, TRAINER_STATE_NAME, RECIPE]
    folder = Path(model_id)
    if not folder.is_dir():
        folder = Path(snapshot_download(model_id, allow_patterns=names))
    if folder.resolve().name.startswith("checkpoint-") and not (folder / SPLIT).exists():
        folder = folder.resolve().parent
    check_files(folder, names)
    split, state, recipe = (path if (path := folder / name).is_file() else None for name in names)
    return RunRecords(
        read_record(split) if split else {},
        read_record(state) if state else None,
        read_recipe(recipe)[0] if recipe else {},
    )
