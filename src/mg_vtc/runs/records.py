"""The records of a run beside its model, on this disk or on the Hub."""

from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download
from transformers.trainer import TRAINER_STATE_NAME

from .directory import RECIPE, SPLIT, read_recipe, read_record


class RunRecords(NamedTuple):
    """What the folder of a run tells of it.

    Attributes:
        split: Content of `split.json`; empty where there is none.
        state: Content of `trainer_state.json`; None where there is none, as in an exported classifier.
        recipe: Content of `recipe.yaml`; empty where there is none.
    """

    split: dict[str, Any]
    state: dict[str, Any] | None
    recipe: dict[str, Any]


def read_records(model_id: str) -> RunRecords:
    """Read what is beside a model, here or on the Hub, or for a checkpoint beside the model of its run.

    Args:
        model_id: Folder or Hub id; "" for a model that came from neither, of which nothing is known.

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
    split, state, recipe = (path if (path := folder / name).is_file() else None for name in names)
    return RunRecords(
        read_record(split) if split else {},
        read_record(state) if state else None,
        read_recipe(recipe)[0] if recipe else {},
    )
